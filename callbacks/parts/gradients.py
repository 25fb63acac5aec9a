"""Arithmetic on lists of gradients that may hold the sparse gradients of embeddings."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def dense(gradient: Any) -> tf.Tensor:
    """Returns `gradient` as a tensor; rows that an IndexedSlices holds several times are summed."""
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(gradient.values, gradient.indices, gradient.dense_shape[0])


def global_norm(gradients: Sequence[Any]) -> tf.Tensor:
    """Returns the Euclidean norm of all `gradients` together: float64 if one of them is, else float32."""
    kind = tf.float64 if any(g.dtype == tf.float64 for g in gradients) else tf.float32
    return tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(tf.cast(dense(g), kind))) for g in gradients]))


def clip_factor(norm: tf.Tensor, limit: Any) -> tf.Tensor:
    """Returns what a gradient of length `norm` is multiplied by to be no longer than `limit`; NaN if not finite."""
    return tf.where(tf.math.is_finite(norm), tf.minimum(limit / norm, 1.0), math.nan)
