"""Candidates of a search, built before anything is written: names and options that only Keras and
the zoo know.
"""

from collections.abc import Hashable
from dataclasses import replace
from functools import partial

import keras

from epochal.app.config import Config
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.store.plan import Space
from epochal.app.training.optimizers import check_decay, make_optimizer
from epochal.app.tuning.space import changed, corners
from epochal.models.complexity import without_values


def check_candidates(space: Space, base: Config, preprocessing: Preprocessing, where: str) -> None:
    """Build every network and optimizer that stands in a corner of the space.

    Args:
        space: the ranges that are searched.
        base: the configuration that they change.
        preprocessing: of the base's data.
        where: the search file, for messages.

    Raises:
        UsageError: one line for the first that cannot be built.
    """
    configs = []
    networks: dict[Hashable, Config] = {}
    for corner in corners(space):
        config = changed(base, corner)
        configs.append(config)
        options = tuple(config.model_options.items())
        networks[config.model, config.image_size, options] = config
    try:
        for config in networks.values():
            resized = preprocessing
            if config.image_size is not None:
                resized = replace(preprocessing, image_size=config.image_size)
            without_values(partial(build_model, config, resized))
        with keras.device("cpu:0"):  # a GPU is the workers'
            for config in configs:
                _check_optimizer(config)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _check_optimizer(config: Config) -> None:
    try:
        check_decay(config)
        make_optimizer(config)
    except UsageError as error:
        raise UsageError(
            f"{error}; what some optimizers lack is searched with when: {{optimizer: [...]}}"
        ) from error
