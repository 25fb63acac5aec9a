"""Trained models: built from the run's own configuration, then filled with its best weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from epochal import models
from epochal.app.config import Config
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.store.arrays import arrays_of, assign
from epochal.app.store.run import Run


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model with what evaluation, prediction and export need beside it."""

    config: Config
    preprocessing: Preprocessing
    model: Any


def check_model(config: Config) -> None:
    """Refuse the name of a model, or its options, that `build_model` would refuse for any images.

    Raises:
        UsageError: saying which there are.
    """
    try:
        models.check_options(config.model, config.model_options)
    except ValueError as error:
        raise UsageError(f"model: {error}") from error


def build_model(
    config: Config, preprocessing: Preprocessing, *, precision: str | None = None
) -> Any:
    """Build a model of the zoo with fresh weights for the data set's images and classes.

    Normalisation is inside. It computes in the precision of the configuration, or another one.

    Raises:
        UsageError: when the name is unknown or the images or options do not suit it.
    """
    try:
        with dtype_policy(precision or config.precision):
            return models.build(
                config.model,
                preprocessing.input_shape,
                len(preprocessing.classes),
                mean=preprocessing.mean,
                deviation=preprocessing.deviation,
                options=config.model_options,
            )
    except ValueError as error:
        raise UsageError(f"model: {error}") from error


def weight_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return the model's weights by place and path, as a run publishes them."""
    return arrays_of(_weights_by_name(model))


def load_trained(run: Run, precision: str | None = None) -> Trained:
    """Return the run's model with its best weights, in the run's precision or another one.

    Raises:
        UsageError: when the run has not finished.
        StorageError: when its files are damaged.
    """
    arrays = run.best_weights().arrays
    config = run.config()
    preprocessing = Preprocessing.from_card(run.data_card())
    model = build_model(config, preprocessing, precision=precision)
    assign(_weights_by_name(model), dict(arrays), run.best)
    return Trained(
        config=config,
        preprocessing=preprocessing,
        model=model,
    )


def _weights_by_name(model: Any) -> dict[str, Any]:
    """Return the weights by place and path, since paths alone may repeat."""
    weights = {}
    for place, weight in enumerate(model.weights):
        weights[f"{place:04d}/{weight.path}"] = weight
    return weights
