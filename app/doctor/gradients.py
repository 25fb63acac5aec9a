"""Checks of the first steps: loss, gradients, symmetry, and the independence of steps."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.doctor.finding import Finding, error, ok, shorten_list, skipped, warning
from epochal.app.doctor.model_copy import compile_copy, copy_model
from epochal.app.doctor.sample_images import draw_images
from epochal.app.training.run.setup import Setup

_LOSS_IMAGES = 128
_GRADIENT_IMAGES = 16
_STEPS = 3
_LARGEST_CHANGE = 1e-2  # of a weight in a step
_STEP_TOLERANCE = 1e-4  # of a step, relative to the gradient
# Times ln C: a first loss outside of these is no accident.
_LOW = 0.5
_HIGH = 1.5


def check_first_loss(setup: Setup) -> Finding:
    """Check that the loss starts at about ln C, as before training all C classes are as likely."""
    config = setup.config
    if config.objective.loss != "cross_entropy":
        return skipped(f"ln C is what cross_entropy starts at, not {config.objective.loss}")
    images, labels = draw_images(setup, _LOSS_IMAGES)
    model = copy_model(setup)
    logits = model(images, training=True)
    # Without class weights, which say nothing of the network's first logits.
    losses = model.objective.loss(labels, logits)
    loss = float(tf.reduce_mean(losses))
    num_classes = len(setup.dataset.preprocessing.classes)
    ratio = loss / math.log(num_classes)
    text = f"the first loss is {loss:.3g}, {ratio:.2f} times ln {num_classes}"
    if not ratio <= _HIGH:
        return warning(f"{text}; let the last layer start smaller, look at the scale of the images")
    pretrained = config.init_from is not None or config.weights is not None
    if ratio < _LOW and not pretrained:
        return warning(f"{text}, before anything was learned; look for a factor in the loss")
    return ok(text)


def check_every_weight(setup: Setup) -> Finding:
    """Check that every weight gets a gradient, in the first step or the next two."""
    images, labels = draw_images(setup, _GRADIENT_IMAGES)
    model = copy_model(setup, "float64")
    frozen = []
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name.endswith(("kernel", "bias")) and not weight.trainable:
                frozen.append(weight.path)
    moved: set[str] = set()
    for gradients in _take_steps(model, images, labels):
        for path, gradient in gradients.items():
            if gradient is not None and np.any(gradient):
                moved.add(path)
    unmoved = [weight.path for weight in model.trainable_weights if weight.path not in moved]
    if unmoved:
        return error(
            f"no gradient in {_STEPS} steps: {shorten_list(unmoved)}; "
            "look for what cuts them off from the loss"
        )
    if frozen:
        return warning(f"not trained: {shorten_list(frozen)}; let their layers be trainable")
    return ok(f"all {len(moved)} weights have one")


def check_symmetry(setup: Setup) -> Finding:
    """Check that units of a layer do not start and stay alike, as with kernels that start at 0."""
    images, labels = draw_images(setup, _GRADIENT_IMAGES)
    model = copy_model(setup, "float64")
    for _ in _take_steps(model, images, labels):
        pass
    symmetric = []
    for weight in model.trainable_weights:
        if not weight.name.endswith("kernel"):
            continue
        num_alike = _count_alike_units(weight.numpy())
        if num_alike > 0:
            symmetric.append(f"{weight.path} ({num_alike} units)")
    if symmetric:
        return error(
            f"units that stay alike: {shorten_list(symmetric)}; start their kernels at random"
        )
    return ok(f"no two units of a layer are alike after {_STEPS} steps")


def check_steps(setup: Setup) -> Finding:
    """Check that a step follows the gradient of its own batch, and nothing of the one before."""
    images, labels = draw_images(setup, 2 * _GRADIENT_IMAGES)
    if getattr(
        setup.model.optimizer,
        "gradient_accumulation_steps",
        None,
    ):
        return warning(
            "the optimizer adds gradients over steps, and batches count; use --optim.micro-batches"
        )
    optimizer = keras.optimizers.SGD(1.0)
    model = compile_copy(copy_model(setup, "float64"), optimizer)
    weights = model.trainable_weights
    samples = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = samples.batch(len(images) // 2, drop_remainder=True)
    iterator = iter(batches)
    model.train_function(iterator)
    before = [weight.numpy() for weight in weights]
    second_images, second_labels = list(batches)[1]
    gradients = _compute_gradients(model, second_images, second_labels)
    model.train_function(iterator)
    errors = []
    norms = []
    for weight, value, gradient in zip(
        weights,
        before,
        gradients,
        strict=True,
    ):
        # At a learning rate of 1 a step is minus the gradient.
        step = weight.numpy() - value
        expected = np.zeros_like(value)
        if gradient is not None:
            expected -= gradient.numpy()
        errors.append(np.linalg.norm(step - expected))
        norms.append(np.linalg.norm(expected))
    distance = math.hypot(*errors)
    norm = math.hypot(*norms)
    if distance > _STEP_TOLERANCE * norm:
        share = distance / norm
        return error(
            f"the second step is {share:.1%} off the gradient of its batch; do not add gradients up"
        )
    return ok("the second step is the gradient of the second batch")


def _take_steps(model: Any, images: np.ndarray, labels: np.ndarray) -> Iterator[dict[str, Any]]:
    """Take a few steps, and yield the gradients of each by the paths of the weights.

    A weight's largest change in a step is `_LARGEST_CHANGE`.
    """
    weights = model.trainable_weights
    paths = [weight.path for weight in weights]
    for _ in range(_STEPS):
        gradients = _compute_gradients(model, images, labels)
        yield dict(zip(paths, gradients, strict=True))
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is None:
                continue
            largest = float(tf.reduce_max(tf.abs(gradient)))
            rate = _LARGEST_CHANGE / max(largest, 1e-6)
            weight.assign_sub(rate * gradient)


def _compute_gradients(model: Any, images: Any, labels: Any) -> list[Any]:
    """Return the gradient of the mean loss, class weights included, by each trainable weight."""
    variables = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = model.objective.mean_loss(labels, model(images, training=True))
    return list(tape.gradient(loss, variables))


def _count_alike_units(kernel: np.ndarray) -> int:
    """Return how many units of a kernel `[..., units]` have a sibling with the same numbers."""
    num_units = kernel.shape[-1]
    columns = kernel.reshape(-1, num_units).T
    largest = np.abs(columns).max()
    if largest > 0:
        columns = columns / largest
    # Adding 0 makes 0.0 of -0.0, which has other bytes.
    rounded = np.round(columns, 6) + 0.0
    distinct = {column.tobytes() for column in rounded}
    return num_units - len(distinct)
