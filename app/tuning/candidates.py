"""What a search proposes, tried out before anything is written: names and options that only Keras and the zoo know."""

from dataclasses import replace
from functools import partial

import keras

from epochal.app.config import Config
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.training.optimizers import check_decay, make_optimizer
from epochal.app.tuning.space import Space, changed, corners
from epochal.models.complexity import without_values


def check_candidates(space: Space, base: Config, preprocessing: Preprocessing, where: str) -> None:
    """Builds every network and optimizer that stands in a corner of the space.

    Args:
        space: what is searched.
        base: what it changes.
        preprocessing: of the base's data.
        where: the search file, for messages.

    Raises:
        UsageError: one line for the first that cannot be built.
    """
    configs = [changed(base, corner) for corner in corners(space)]
    networks = {(one.model, one.image_size, *one.model_options.items()): one for one in configs}
    try:
        for config in networks.values():
            without_values(partial(build_model, config, _sized(preprocessing, config.image_size)))
        with keras.device("cpu:0"):  # a GPU is the workers'
            for config in configs:
                _make(config)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _make(config: Config) -> None:
    try:
        check_decay(config)
        make_optimizer(config)
    except UsageError as error:
        raise UsageError(
            f"{error}; what some optimizers lack is searched with when: {{optimizer: [...]}}"
        ) from error


def _sized(preprocessing: Preprocessing, size: int | None) -> Preprocessing:
    if size is None:
        return preprocessing
    return replace(preprocessing, image_size=size)
