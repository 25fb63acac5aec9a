"""Checks of inference mode: the same answer every time, whatever else is in the batch."""

from typing import Any

import keras
import numpy as np

from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.doctor.model_copy import drops
from epochal.app.doctor.sample_images import some_images
from epochal.app.training.run.setup import Setup

_IMAGES = 8
_ROUNDING = {"float32": 1e-3, "float64": 1e-9}  # relative to the largest logit
_NARROW_ROUNDING = 5e-2


def deterministic(setup: Setup) -> Finding:
    """Two evaluations of the same images give the same logits; training mode gives others (row J9 of the lectures)."""
    images, _ = some_images(setup, _IMAGES)
    first, second = (setup.model(images, training=False).numpy() for _ in range(2))
    if not np.array_equal(first, second):
        return error(
            "two evaluations of the same images differ; look for a layer that is random with training=False"
        )
    told = [layer.name for layer in setup.model.layers if _differs_in_training(layer)]
    if not told:
        return ok("two evaluations of the same images are identical")
    if _close(first, _in_training(setup, images), setup):
        return warning(
            f"{told[0]} does in training what it does in evaluation; look at its call and at trainable"
        )
    return ok("two evaluations of the same images are identical, training mode differs")


def independent(setup: Setup) -> Finding:
    """An image's logits do not depend on the other images of its batch."""
    images, _ = some_images(setup, _IMAGES)
    together = setup.model(images, training=False).numpy()
    alone = np.concatenate(
        [setup.model(images[at : at + 1], training=False).numpy() for at in range(len(images))]
    )
    if not _close(together, alone, setup):
        worst = np.abs(together - alone).max()
        return error(
            f"logits change by {worst:.2g} with the batch around an image; look for statistics of the batch"
        )
    return ok(f"{len(images)} images have the same logits alone and together")


def _differs_in_training(layer: Any) -> bool:
    return (drops(layer) and layer.rate > 0) or isinstance(layer, keras.layers.BatchNormalization)


def _in_training(setup: Setup, images: np.ndarray) -> np.ndarray:
    """The logits in training mode; moving statistics and random states are put back."""
    variables = setup.model.variables
    before = [variable.numpy() for variable in variables]
    logits: np.ndarray = setup.model(images, training=True).numpy()
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return logits


def _close(one: np.ndarray, other: np.ndarray, setup: Setup) -> bool:
    tolerance = _ROUNDING.get(setup.config.precision, _NARROW_ROUNDING)
    return bool(np.abs(one - other).max() <= tolerance * np.abs(one).max())
