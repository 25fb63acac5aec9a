"""Arithmetic on lists of gradients, among which may be the sparse ones of embeddings."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def dense(gradient: Any) -> tf.Tensor:
    """Return `gradient` as a tensor; rows that an IndexedSlices holds several times are summed."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(
        gradient.values,
        gradient.indices,
        gradient.dense_shape[0],
    )


def global_norm(gradients: Sequence[Any]) -> tf.Tensor:
    """Return the Euclidean norm of all `gradients`: float64 if one of them is, else float32."""
    dtype = tf.float32
    if any(gradient.dtype == tf.float64 for gradient in gradients):
        dtype = tf.float64
    squares = []
    for gradient in gradients:
        values = tf.cast(dense(gradient), dtype)
        squares.append(tf.reduce_sum(tf.square(values)))
    return tf.sqrt(tf.add_n(squares))


def clip_factor(norm: tf.Tensor, limit: Any) -> tf.Tensor:
    """Return what makes a gradient of length `norm` no longer than `limit`; NaN if not finite."""
    return tf.where(
        tf.math.is_finite(norm),
        tf.minimum(limit / norm, 1.0),
        math.nan,
    )
