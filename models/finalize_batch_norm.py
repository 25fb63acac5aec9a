"""Statistics of batch norm over the whole training set, in place of the moving averages of training."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


def finalize_batch_norm(model: keras.Model, images: Iterable[Any], *, exact: bool = False) -> None:
    """Replaces the moving mean and variance of every batch norm of a functional model by those of the training set.

    Moving averages lag behind the weights; after few steps validation suffers for it. Ioffe and Szegedy 2015 (arXiv
    1502.03167), algorithm 2: the network runs in training mode, and each layer gets the mean of its batches' means and
    the mean of their variances, times m / (m - 1), where a batch gives m values a channel. One pass.

    Args:
        images: batches `[n, H, W, C]`, iterated over once, with `exact` once for every batch norm. Not augmented.
        exact: take the moments of all images together instead, one layer after the other, each seeing what the layers
            before it give at inference. At inference every batch norm's output then has mean beta, variance gamma^2.

    Raises:
        ValueError: without any image; the model is left as it was.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not any(True for _ in images):
        raise ValueError("images must hold at least one batch, got none.")
    if exact:
        for layer in norms:
            _assign(layer, *_pooled(keras.Model(model.input, layer.input), images))
    elif norms:
        _average_of_batches(model, norms, images)


def _average_of_batches(model: keras.Model, norms: list[Any], images: Iterable[Any]) -> None:
    """Reads each batch's moments where a layer without memory leaves them: in its moving statistics."""
    totals = [np.zeros((2, layer.moving_mean.shape[0])) for layer in norms]
    momenta = [layer.momentum for layer in norms]
    count = 0
    others = [variable for variable in model.non_trainable_variables if not _of(variable, norms)]
    before = [ops.copy(variable.value) for variable in others]  # of dropout's generators
    try:
        for layer in norms:
            layer.momentum = 0.0
        for batch in images:
            model(batch, training=True)
            for total, layer in zip(totals, norms, strict=True):
                values = len(batch) * int(np.prod(layer.input.shape[1:-1]))
                unbiased = _array(layer.moving_variance) * values / max(values - 1, 1)
                total += len(batch) * np.stack([_array(layer.moving_mean), unbiased])
            count += len(batch)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
    for layer, total in zip(norms, totals, strict=True):
        _assign(layer, *(total / count))


def _pooled(features: keras.Model, images: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and biased variance of each channel over all images, merged from batch to batch (Chan et al. 1979)."""
    count = 0
    mean = np.zeros(features.output.shape[-1])
    squares = np.zeros(features.output.shape[-1])
    for batch in images:
        values = _array(features(batch, training=False)).reshape(-1, len(mean))
        step = values.mean(0) - mean
        total = count + len(values)
        squares += values.var(0) * len(values) + step**2 * count * len(values) / total
        mean = mean + step * len(values) / total
        count = total
    return mean, squares / count


def _assign(layer: Any, mean: np.ndarray, variance: np.ndarray) -> None:
    layer.moving_mean.assign(mean.astype(layer.moving_mean.dtype))
    layer.moving_variance.assign(variance.astype(layer.moving_variance.dtype))


def _of(variable: Any, norms: list[Any]) -> bool:
    return any(variable is own for layer in norms for own in layer.non_trainable_variables)


def _array(values: Any) -> np.ndarray:
    """In float64: sums over a whole training set do not fit float32."""
    return ops.convert_to_numpy(ops.cast(values, "float64"))
