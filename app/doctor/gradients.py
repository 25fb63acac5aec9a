"""Checks of the first steps: loss, gradients, symmetry, and that a step is of its own batch alone."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.doctor.finding import Finding, error, ok, skipped, warning
from epochal.app.doctor.model_copy import ready, twin
from epochal.app.doctor.sample_images import some_images
from epochal.app.training.run.setup import Setup

_FIRST = 128  # images in the first loss
_FEW = 16  # images in a gradient
_STEPS = 3
_STEP = 1e-2  # the largest change of a weight in one of them
_LOW = 0.5
_HIGH = 1.5  # times ln C: beyond these a first loss is no accident


def first_loss(setup: Setup) -> Finding:
    """Before training all classes are equally likely: a loss of about ln C (row J13 of the lectures)."""
    if setup.config.objective.loss != "cross_entropy":
        return skipped(f"ln C is what cross_entropy starts at, not {setup.config.objective.loss}")
    images, labels = some_images(setup, _FIRST)
    model = twin(setup)
    # Of the images alike: the weights of classes say nothing of what the network begins with.
    loss = float(tf.reduce_mean(model.objective.loss(labels, model(images, training=True))))
    even = math.log(len(setup.dataset.preprocessing.classes))
    told = f"{loss:.3g}, {loss / even:.2f} times ln {len(setup.dataset.preprocessing.classes)}"
    if not loss <= _HIGH * even:
        return warning(
            f"the first loss is {told}; let the last layer start smaller, look at the scale of the images"
        )
    if loss < _LOW * even and (setup.config.init_from, setup.config.weights) == (None, None):
        return warning(
            f"the first loss is {told}, before anything was learned; look for a factor in the loss"
        )
    return ok(f"the first loss is {told}")


def every_weight(setup: Setup) -> Finding:
    """Every weight gets a gradient, in the first step or the next two."""
    images, labels = some_images(setup, _FEW)
    model = twin(setup, "float64")
    frozen = [
        w.path
        for layer in model.layers
        for w in layer.weights
        if _should_train(w) and not w.trainable
    ]
    moved: set[str] = set()
    for gradients in _steps(model, images, labels):
        moved |= {
            path
            for path, gradient in gradients.items()
            if gradient is not None and np.any(gradient)
        }
    still = [weight.path for weight in model.trainable_weights if weight.path not in moved]
    if still:
        return error(
            f"no gradient in {_STEPS} steps: {_list(still)}; look for what cuts them off from the loss"
        )
    if frozen:
        return warning(f"not trained: {_list(frozen)}; let their layers be trainable")
    return ok(f"all {len(moved)} weights have one")


def symmetry(setup: Setup) -> Finding:
    """Units of a layer do not start and stay alike, as with weights that start at 0 (row C1 of the lectures)."""
    images, labels = some_images(setup, _FEW)
    model = twin(setup, "float64")
    for _ in _steps(model, images, labels):
        pass
    alike = {
        w.path: _alike(w.numpy()) for w in model.trainable_weights if w.name.endswith("kernel")
    }
    found = [f"{path} ({count} units)" for path, count in alike.items() if count]
    if found:
        return error(f"units that stay alike: {_list(found)}; start their kernels at random")
    return ok(f"no two units of a layer are alike after {_STEPS} steps")


def own_batch(setup: Setup) -> Finding:
    """A step follows the gradient of its own batch, with nothing left from the one before (row J10)."""
    images, labels = some_images(setup, 2 * _FEW)
    if getattr(setup.model.optimizer, "gradient_accumulation_steps", None):
        return warning(
            "the optimizer adds gradients over steps, and batches count; use --optim.micro-batches"
        )
    model = ready(twin(setup, "float64"), keras.optimizers.SGD(1.0))
    halves = tf.data.Dataset.from_tensor_slices((images, labels)).batch(
        len(images) // 2, drop_remainder=True
    )
    iterator = iter(halves)
    model.train_function(iterator)
    before = [weight.numpy() for weight in model.trainable_weights]
    gradients = _gradients(model, *list(halves)[1])
    model.train_function(iterator)
    moved = [
        weight.numpy() - value
        for weight, value in zip(model.trainable_weights, before, strict=True)
    ]
    wanted = [-_dense(gradient, move) for gradient, move in zip(gradients, moved, strict=True)]
    off = math.sqrt(
        sum(np.sum((move - want) ** 2) for move, want in zip(moved, wanted, strict=True))
    )
    whole = math.sqrt(sum(np.sum(want**2) for want in wanted))
    if off > 1e-4 * whole:
        return error(
            f"the second step is {off / whole:.1%} off the gradient of its batch; do not add gradients up"
        )
    return ok("the second step is the gradient of the second batch")


def _steps(model: Any, images: np.ndarray, labels: np.ndarray) -> Any:
    """The gradients of a few steps by path; in each, a weight's largest change is `_STEP`."""
    for _ in range(_STEPS):
        gradients = _gradients(model, images, labels)
        yield {w.path: g for w, g in zip(model.trainable_weights, gradients, strict=True)}
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
            if gradient is not None:
                weight.assign_sub(
                    _STEP * gradient / max(float(tf.reduce_max(tf.abs(gradient))), 1e-6)
                )


def _gradients(model: Any, images: Any, labels: Any) -> list[Any]:
    """Return the gradient of the mean loss, weights of classes included, by each trainable weight."""
    with tf.GradientTape() as tape:
        loss = model.objective.mean_loss(labels, model(images, training=True))
    return list(tape.gradient(loss, [weight.value for weight in model.trainable_weights]))


def _alike(kernel: np.ndarray) -> int:
    """How many units of a kernel `[..., units]` have a sibling with the same numbers."""
    columns = kernel.reshape(-1, kernel.shape[-1]).T
    rounded = (
        np.round(columns / (np.abs(columns).max() or 1.0), 6) + 0.0
    )  # + 0.0: -0.0 has other bytes
    different = {column.tobytes() for column in rounded}
    return len(columns) - len(different)


def _should_train(weight: Any) -> bool:
    return bool(weight.name.endswith(("kernel", "bias")))


def _dense(gradient: Any, like: np.ndarray) -> np.ndarray:
    return np.zeros_like(like) if gradient is None else gradient.numpy()


def _list(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
