"""Checks of layers, loss and optimizer that need no training."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal import models
from epochal.app.doctor.finding import Finding, error, ok, skipped, warning
from epochal.app.doctor.sample_images import draw_images
from epochal.app.training.run.setup import Setup

_IMAGES = 16
_ROUNDING = 1e-3  # of a sum of probabilities, bfloat16 included


def check_logits(setup: Setup) -> Finding:
    """Check that a loss of logits gets logits, and a loss of probabilities gets probabilities.

    A loss expects logits if it does not change when all of them grow by the same.
    """
    if setup.config.objective.loss == "squared_error":
        return skipped("squared_error takes logits and probabilities")
    images, labels = draw_images(setup, _IMAGES)
    outputs = tf.cast(setup.model(images, training=False), "float32")
    sums_to_one = np.allclose(
        tf.reduce_sum(outputs, -1),
        1,
        atol=_ROUNDING,
    )
    returns_probabilities = sums_to_one and float(tf.reduce_min(outputs)) >= 0
    loss = setup.model.objective.loss
    # A sum is no longer known to Keras as a softmax's output, whose logits it would look up.
    losses = loss(labels, outputs + 0.0)
    shifted_losses = loss(labels, outputs + 1.0)
    takes_logits = np.allclose(
        losses,
        shifted_losses,
        rtol=1e-4,
        atol=1e-4,
    )
    if returns_probabilities and takes_logits:
        return error(
            "the model ends with a softmax, and the loss applies another one; "
            "end it with the logits"
        )
    if not returns_probabilities and not takes_logits:
        return error(
            "the loss takes probabilities and the model returns logits; take a loss of logits"
        )
    if takes_logits:
        return ok("the loss gets logits, as it expects")
    return ok("the loss gets probabilities, as it expects")


def check_biases(setup: Setup) -> Finding:
    """Check that no bias stands before batch norm, and that the last layer has a bias.

    Batch norm subtracts the mean, and a bias with it.
    """
    model = setup.model
    last = _find_last_kernel_layer(model.outputs[0])
    if last is not None and not last.use_bias:
        return warning(f"the last layer, {last.name}, has no bias; give it one")
    idle = []
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        source = _kernel_layer_of(layer.input)
        if source is not None and source.use_bias:
            idle.append(source.name)
    if not idle:
        return ok("none before batch norm, one at the output")
    name = setup.config.model
    architecture = models.ZOO.get(name)
    if architecture is not None and architecture.style.bias:
        return ok(f"{len(idle)} biases before batch norm are idle; {name} was published with them")
    examples = ", ".join(idle[:3])
    return warning(
        f"batch norm takes out the bias of {examples} ({len(idle)} in all); use_bias=False"
    )


def _kernel_layer_of(tensor: Any) -> Any:
    """Return the layer whose output a tensor is, if it has a kernel and may have a bias."""
    layer = tensor._keras_history.operation
    if not hasattr(layer, "use_bias"):
        return None
    for weight in layer.weights:
        if weight.name.endswith("kernel"):
            return layer
    return None


def _find_last_kernel_layer(tensor: Any) -> Any:
    """Return the nearest layer with a kernel upstream of a tensor, past activations and the like.

    None where branches meet, or at the input.
    """
    while True:
        layer = _kernel_layer_of(tensor)
        if layer is not None:
            return layer
        operation = tensor._keras_history.operation
        if isinstance(operation, keras.layers.InputLayer) or isinstance(operation.input, list):
            return None
        tensor = operation.input


def check_betas(setup: Setup) -> Finding:
    """Check that Adam's second average is the slower one: beta_2 above beta_1."""
    optimizer: Any = setup.model.optimizer
    optimizer = getattr(
        optimizer,
        "inner_optimizer",
        optimizer,
    )  # of a loss scale
    if not hasattr(optimizer, "beta_1") or not hasattr(optimizer, "beta_2"):
        return skipped(f"{optimizer.name} has no two betas")
    first = optimizer.beta_1
    second = optimizer.beta_2
    if second <= first:
        return warning(
            f"beta_2 {second:g} is not above beta_1 {first:g}; Adam's defaults are 0.999 and 0.9"
        )
    return ok(f"beta_2 {second:g} is above beta_1 {first:g}")
