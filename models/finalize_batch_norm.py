"""Final statistics of batch norm, over the whole training set instead of moving averages."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops


def finalize_batch_norm(model: keras.Model, images: Iterable[Any], *, exact: bool = False) -> None:
    """Replace moving mean and variance of every batch norm by those of the training set.

    Moving averages lag behind the weights; after few steps validation suffers for it. Ioffe and
    Szegedy 2015 (arXiv 1502.03167), algorithm 2: the network, a functional model, runs in training
    mode, and each layer gets the mean of its batches' means and the mean of their variances, times
    m / (m - 1), where a batch gives m values a channel. One pass.

    Args:
        images: batches `[n, H, W, C]`, not augmented, iterated over once, with `exact` once for
            every batch norm.
        exact: take the moments of all images together instead, one layer after the other, each
            seeing what the layers before it give at inference. At inference every batch norm's
            output then has mean beta, variance gamma^2.

    Raises:
        ValueError: without any image; the model is left as it was.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not any(True for _ in images):
        raise ValueError("images must hold at least one batch, got none.")
    if exact:
        for norm in norms:
            features = keras.Model(model.input, norm.input)
            mean, variance = _pooled_moments(features, images)
            _assign(norm, mean, variance)
    elif norms:
        _average_over_batches(model, norms, images)


def _average_over_batches(model: keras.Model, norms: list[Any], images: Iterable[Any]) -> None:
    """Set each norm's statistics to the averages over batches.

    With momentum 0 a batch's moments are what a layer's moving statistics hold after it.
    """
    totals = [np.zeros((2, norm.moving_mean.shape[0])) for norm in norms]
    count = 0
    momenta = [norm.momentum for norm in norms]
    others = _other_state(model, norms)
    saved = [ops.copy(variable.value) for variable in others]
    try:
        for norm in norms:
            norm.momentum = 0.0
        for batch in images:
            model(batch, training=True)
            for total, norm in zip(totals, norms, strict=True):
                values = len(batch) * int(np.prod(norm.input.shape[1:-1]))
                unbiased = _to_float64(norm.moving_variance) * values / max(values - 1, 1)
                total += len(batch) * np.stack([_to_float64(norm.moving_mean), unbiased])
            count += len(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for variable, value in zip(others, saved, strict=True):
            variable.assign(value)
    for norm, total in zip(norms, totals, strict=True):
        mean, variance = total / count
        _assign(norm, mean, variance)


def _other_state(model: keras.Model, norms: list[Any]) -> list[Any]:
    """Return the non-trainable variables that are no statistics, such as dropout's generators."""
    statistics = set[int]()
    for norm in norms:
        statistics.update(id(variable) for variable in norm.non_trainable_variables)
    return [
        variable for variable in model.non_trainable_variables if id(variable) not in statistics
    ]


def _pooled_moments(features: keras.Model, images: Iterable[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and biased variance of each channel over all images.

    Batches are merged as in Chan et al. 1979.
    """
    channels = features.output.shape[-1]
    count = 0
    mean = np.zeros(channels)
    squares = np.zeros(channels)  # sum of squared distances from the mean
    for batch in images:
        values = _to_float64(features(batch, training=False)).reshape(-1, channels)
        added = len(values)
        total = count + added
        difference = values.mean(0) - mean
        squares += values.var(0) * added + difference**2 * count * added / total
        mean = mean + difference * added / total
        count = total
    return mean, squares / count


def _assign(norm: Any, mean: np.ndarray, variance: np.ndarray) -> None:
    norm.moving_mean.assign(mean.astype(norm.moving_mean.dtype))
    norm.moving_variance.assign(variance.astype(norm.moving_variance.dtype))


def _to_float64(values: Any) -> np.ndarray:
    """Return an array in which sums over a whole training set are exact enough."""
    return ops.convert_to_numpy(ops.cast(values, "float64"))
