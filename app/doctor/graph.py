"""Checks of the layers, the loss and the optimizer that need no training."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal import models
from epochal.app.doctor.finding import Finding, error, ok, skipped, warning
from epochal.app.doctor.sample_images import some_images
from epochal.app.training.run.setup import Setup

_PROBED = 16  # images
_ROUNDING = 1e-3  # of a sum of probabilities, bfloat16 included


def logits_meet_loss(setup: Setup) -> Finding:
    """A loss of logits gets logits, one of probabilities gets probabilities (row J11 of the lectures).

    A loss expects scores if it does not change when all of them grow by the same.
    """
    if setup.config.objective.loss == "squared_error":
        return skipped("squared_error takes logits and probabilities")
    images, labels = some_images(setup, _PROBED)
    outputs = tf.cast(setup.model(images, training=False), "float32")
    likely = (
        np.allclose(tf.reduce_sum(outputs, -1), 1, atol=_ROUNDING)
        and float(tf.reduce_min(outputs)) >= 0
    )
    before, after = (setup.model.objective.loss(labels, outputs + shift) for shift in (0.0, 1.0))
    scores = np.allclose(before, after, rtol=1e-4, atol=1e-4)
    if likely and scores:
        return error(
            "the model ends with a softmax, and the loss applies another one; end it with the logits"
        )
    if not likely and not scores:
        return error(
            "the loss takes probabilities and the model returns logits; take a loss of logits"
        )
    return ok(f"the loss gets {'logits' if scores else 'probabilities'}, as it expects")


def biases(setup: Setup) -> Finding:
    """No bias stands before batch norm, which takes it out again, and the last layer has one (row J12)."""
    row = models.ZOO.get(setup.config.model)
    last = _with_kernel_before(setup.model.outputs[0])
    if last is not None and not last.use_bias:
        return warning(f"the last layer, {last.name}, has no bias; give it one")
    idle = [
        layer.name
        for layer in map(_normalised, setup.model.layers)
        if layer is not None and layer.use_bias
    ]
    if idle and row is not None and row.style.bias:
        return ok(
            f"{len(idle)} biases before batch norm are idle; {setup.config.model} was published with them"
        )
    if idle:
        return warning(
            f"batch norm takes out the bias of {', '.join(idle[:3])} ({len(idle)} in all); use_bias=False"
        )
    return ok("none before batch norm, one at the output")


def _normalised(layer: Any) -> Any:
    """The layer with a kernel whose output is what this layer, a batch norm, normalises; else None."""
    if not isinstance(layer, keras.layers.BatchNormalization):
        return None
    return _maker(layer.input)


def _maker(tensor: Any) -> Any:
    """The layer that made a tensor, if it has a kernel and may have a bias."""
    layer = tensor._keras_history.operation
    return layer if hasattr(layer, "use_bias") and _kernels(layer) else None


def _with_kernel_before(tensor: Any) -> Any:
    """The nearest layer with a kernel upstream of a tensor, passing over activations and the like."""
    while (layer := _maker(tensor)) is None:
        source = tensor._keras_history.operation.input
        if isinstance(tensor._keras_history.operation, keras.layers.InputLayer) or isinstance(
            source, list
        ):
            return None
        tensor = source
    return layer


def _kernels(layer: Any) -> list[Any]:
    return [weight for weight in layer.weights if weight.name.endswith("kernel")]


def betas(setup: Setup) -> Finding:
    """Adam's second average is the slower one: beta_2 above beta_1 (row B11 of the lectures)."""
    optimizer: Any = setup.model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of a loss scale
    first = getattr(optimizer, "beta_1", None)
    second = getattr(optimizer, "beta_2", None)
    if first is None or second is None:
        return skipped(f"{optimizer.name} has no two betas")
    if second <= first:
        return warning(
            f"beta_2 {second:g} is not above beta_1 {first:g}; Adam's defaults are 0.999 and 0.9"
        )
    return ok(f"beta_2 {second:g} is above beta_1 {first:g}")
