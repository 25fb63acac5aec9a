"""Gradient norms of the latest steps, kept on the device, and percentiles of them."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import tensorflow as tf

SIZE = 100  # steps
_LEAST = 10  # norms, before they have a percentile


class LatestNorms:
    """The norms of the latest 100 steps, oldest first: float32, infinity where there is none yet.

    Every replica keeps its own copy without communication: all are fed the same values.
    """

    def __init__(self) -> None:
        self._norms: Any = None

    def build(self) -> None:
        """Make the variable, in the scope of a strategy."""
        self._norms = tf.Variable(
            tf.fill([SIZE], math.inf),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def add(self, norm: tf.Tensor) -> None:
        """Take a norm in, and drop the oldest; one that is not finite is passed over."""
        norms = self._norms.read_value()
        moved = tf.concat([norms[1:], [tf.cast(norm, tf.float32)]], 0)
        self._norms.assign(
            tf.where(
                tf.math.is_finite(norm),
                moved,
                norms,
            )
        )

    def percentile(self, percent: float) -> tf.Tensor:
        """Return the percentile (nearest rank) of the norms so far, a scalar.

        Infinity before there are ten.
        """
        ordered = tf.sort(self._norms.read_value())
        count = tf.cast(tf.reduce_sum(tf.cast(tf.math.is_finite(ordered), tf.float32)), tf.int32)
        return tf.where(
            count < _LEAST,
            math.inf,
            ordered[nearest_rank(percent, count)],
        )

    def read(self) -> np.ndarray:
        """Return all norms, `[100]`; also before `build`."""
        if self._norms is None:
            return np.full(SIZE, math.inf, np.float32)
        return self._norms.numpy()

    def assign(self, norms: Any) -> None:
        """Take over what `read` returned."""
        self._norms.assign(norms)

    def reset(self) -> None:
        """Forget all norms."""
        self._norms.assign(tf.fill([SIZE], math.inf))


def nearest_rank(percent: float, count: tf.Tensor) -> tf.Tensor:
    """Return the place, from 0, of a percentile among `count` values in order, by nearest rank."""
    # Whole numbers: in float32, 72 % of 75 are more than 54.
    share = Fraction(percent / 100).limit_denominator(10**6)
    return tf.maximum((share.numerator * count - 1) // share.denominator, 0)
