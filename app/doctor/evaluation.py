"""Checks of inference mode: the same answer every time, independent of the rest of the batch."""

from typing import Any

import keras
import numpy as np

from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.doctor.model_copy import is_dropout
from epochal.app.doctor.sample_images import draw_images
from epochal.app.training.run.setup import Setup

_IMAGES = 8
_ROUNDING = {"float32": 1e-3, "float64": 1e-9}  # relative to the largest logit
_NARROW_ROUNDING = 5e-2  # of narrower floats


def check_determinism(setup: Setup) -> Finding:
    """Check that two evaluations of the same images agree, and that training mode differs."""
    images, _ = draw_images(setup, _IMAGES)
    first = setup.model(images, training=False).numpy()
    second = setup.model(images, training=False).numpy()
    if not np.array_equal(first, second):
        return error(
            "two evaluations of the same images differ; "
            "look for a layer that is random with training=False"
        )
    layers = [layer for layer in setup.model.layers if _differs_in_training(layer)]
    if not layers:
        return ok("two evaluations of the same images are identical")
    if _are_close(
        first,
        _evaluate_in_training_mode(setup, images),
        setup,
    ):
        return warning(
            f"{layers[0].name} does in training what it does in evaluation; "
            "look at its call and at trainable"
        )
    return ok("two evaluations of the same images are identical, training mode differs")


def check_batch_independence(setup: Setup) -> Finding:
    """Check that an image's logits do not depend on the other images of its batch."""
    images, _ = draw_images(setup, _IMAGES)
    together = setup.model(images, training=False).numpy()
    rows = []
    for image in images:
        logits = setup.model(image[np.newaxis], training=False)
        rows.append(logits.numpy())
    alone = np.concatenate(rows)
    if not _are_close(together, alone, setup):
        change = np.abs(together - alone).max()
        return error(
            f"logits change by {change:.2g} with the batch around an image; "
            "look for statistics of the batch"
        )
    return ok(f"{len(images)} images have the same logits alone and together")


def _differs_in_training(layer: Any) -> bool:
    if is_dropout(layer):
        return bool(layer.rate > 0)
    return isinstance(layer, keras.layers.BatchNormalization)


def _evaluate_in_training_mode(setup: Setup, images: np.ndarray) -> np.ndarray:
    """Return the logits in training mode; put back moving statistics and random states."""
    variables = setup.model.variables
    before = [variable.numpy() for variable in variables]
    logits: np.ndarray = setup.model(images, training=True).numpy()
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return logits


def _are_close(logits: np.ndarray, others: np.ndarray, setup: Setup) -> bool:
    tolerance = _ROUNDING.get(setup.config.precision, _NARROW_ROUNDING)
    distance = np.abs(logits - others).max()
    largest = np.abs(logits).max()
    return bool(distance <= tolerance * largest)
