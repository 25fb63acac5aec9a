"""Curvature of a loss: the largest, which bounds the learning rate, and that along each weight."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def hessian_times(
    loss: Callable[[], tf.Tensor], weights: Sequence[Any], vector: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Return the Hessian times a vector, by differentiating twice (Pearlmutter 1994)."""
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            value = loss()
        gradients = inner.gradient(
            value,
            weights,
            unconnected_gradients="zero",
        )
        product = _inner_product(gradients, vector)
    return list(
        outer.gradient(
            product,
            weights,
            unconnected_gradients="zero",
        )
    )


def largest_curvature(
    loss: Callable[[], tf.Tensor],
    weights: Sequence[Any],
    *,
    iterations: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> float:
    """Return the eigenvalue of the Hessian that is largest in magnitude, by power iteration.

    On a quadratic, gradient descent converges in one step along its direction at the rate 1 /
    curvature, and diverges above 2 / curvature (LeCun et al. 1998, Efficient BackProp, section 5).

    Args:
        loss: of the weights, a scalar; the same data every time
        weights: variables of one float type
        iterations: the largest number of products; fewer when the value changes by less than
            `tolerance`, relatively
        tolerance: of the value
        seed: of the first direction
    """
    random = np.random.default_rng(seed)
    times_hessian = tf.function(
        lambda *vector: hessian_times(
            loss,
            weights,
            vector,
        )
    )
    start = []
    for weight in weights:
        direction = random.normal(size=tuple(weight.shape))
        start.append(tf.constant(direction, weight.dtype))
    vector = _scale_to_length_1(start)
    value = 0.0
    for _ in range(iterations):
        product = times_hessian(*vector)
        before = value
        value = float(_inner_product(vector, product))
        change = abs(value - before)
        if change <= tolerance * abs(value):
            break
        vector = _scale_to_length_1(product)
    return value


def diagonal_part(
    loss: Callable[[], tf.Tensor], weights: Sequence[Any], signs: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Return an estimate of the Hessian's diagonal, whose mean over random signs is the diagonal.

    Exact for any signs where weights do not interact (Hutchinson 1990; Bekas et al. 2007).
    """
    products = hessian_times(loss, weights, signs)
    diagonal = []
    for sign, product in zip(signs, products, strict=True):
        diagonal.append(sign * product)
    return diagonal


def suggest_rate(curvature: float) -> float:
    """Return 1 / curvature: the rate that is best along the steepest direction.

    Raises:
        ValueError: for a curvature that is not positive, where no rate is best.
    """
    if not curvature > 0:
        raise ValueError(
            f"a rate needs a curvature above 0, got {curvature:g}: the loss bends down here."
        )
    return 1 / curvature


def _inner_product(left: Sequence[tf.Tensor], right: Sequence[tf.Tensor]) -> tf.Tensor:
    sums = []
    for left_part, right_part in zip(left, right, strict=True):
        product = left_part * right_part
        sums.append(tf.reduce_sum(product))
    return tf.add_n(sums)


def _scale_to_length_1(vector: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    squares = []
    for part in vector:
        square = tf.square(part)
        squares.append(tf.reduce_sum(square))
    length = tf.sqrt(tf.add_n(squares))
    return [part / length for part in vector]
