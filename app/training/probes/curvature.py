"""The curvature of a loss: the largest, which bounds the learning rate that it bears, and that of each weight."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def hessian_times(
    loss: Callable[[], tf.Tensor], weights: Sequence[Any], vector: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """The Hessian of the loss at the weights times a vector, by differentiating twice (Pearlmutter 1994)."""
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = loss()
        gradients = inner.gradient(value, weights, unconnected_gradients="zero")
        product = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradients, vector, strict=True)])
    return outer.gradient(product, weights, unconnected_gradients="zero")


def largest_curvature(
    loss: Callable[[], tf.Tensor],
    weights: Sequence[Any],
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> float:
    """The eigenvalue of the Hessian that is largest in magnitude, by power iteration.

    On a quadratic, gradient descent converges in one step along its direction at the rate 1 / curvature, and diverges
    above 2 / curvature (LeCun et al. 1998, Efficient BackProp, section 5).

    Args:
        loss: of the weights, a scalar; the same data every time.
        weights: variables of one float type.
        iterations: at most so many products; fewer when the value changes by less than `tolerance`, relatively.
        seed: of the first direction.
    """
    random = np.random.default_rng(seed)
    times = tf.function(lambda *vector: hessian_times(loss, weights, vector))
    vector = _unit([tf.constant(random.normal(size=tuple(w.shape)), w.dtype) for w in weights])
    value = 0.0
    for _ in range(iterations):
        product = times(*vector)
        before = value
        value = float(
            tf.add_n([tf.reduce_sum(a * b) for a, b in zip(vector, product, strict=True)])
        )
        if abs(value - before) <= tolerance * abs(value):
            break
        vector = _unit(product)
    return value


def diagonal_part(
    loss: Callable[[], tf.Tensor], weights: Sequence[Any], signs: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """An estimate of the Hessian's diagonal, of which the mean over random signs is the diagonal itself.

    Exact for each of them where weights do not interact (Hutchinson 1990; Bekas et al. 2007).
    """
    products = hessian_times(loss, weights, signs)
    return [sign * product for sign, product in zip(signs, products, strict=True)]


def suggest_rate(curvature: float) -> float:
    """1 / curvature: the rate that is best along the steepest direction.

    Raises:
        ValueError: for a curvature that is not positive, where no rate is best.
    """
    if not curvature > 0:
        raise ValueError(
            f"a rate needs a curvature above 0, got {curvature:g}: the loss bends down here."
        )
    return 1 / curvature


def _unit(vector: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    norm = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(part)) for part in vector]))
    return [part / norm for part in vector]
