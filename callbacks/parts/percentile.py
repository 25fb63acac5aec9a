"""A percentile of the latest values of something, kept on the device."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import tensorflow as tf


class RunningPercentile:
    """The given percentile of the latest `size` values; infinity before there are `least`.

    Every replica keeps its own copy without communication: all are fed the same values.
    """

    def __init__(self, percentile: float, *, size: int = 100, least: int = 10) -> None:
        self.percentile = percentile
        self.least = least
        self._latest = tf.Variable(
            tf.fill([size], math.inf),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def limit(self) -> tf.Tensor:
        """Returns the percentile of what was added so far, a scalar."""
        ordered = tf.sort(self._latest.read_value())
        count = tf.cast(tf.reduce_sum(tf.cast(tf.math.is_finite(ordered), tf.float32)), tf.int32)
        return tf.where(count < self.least, math.inf, ordered[nearest_rank(self.percentile, count)])

    def add(self, value: tf.Tensor) -> None:
        """Takes a value in, and drops the oldest; one that is not finite is passed over."""
        latest = self._latest.read_value()
        moved = tf.concat([latest[1:], [tf.cast(value, tf.float32)]], 0)
        self._latest.assign(tf.where(tf.math.is_finite(value), moved, latest))

    def get_state(self) -> np.ndarray:
        """Returns the values, oldest first."""
        return self._latest.numpy()

    def set_state(self, values: Any) -> None:
        """Takes over what `get_state` returned."""
        self._latest.assign(values)


def nearest_rank(percentile: float, count: tf.Tensor) -> tf.Tensor:
    """Returns the place (from 0) of the percentile among so many values in order: the least that reaches its share."""
    share = Fraction(percentile / 100).limit_denominator(
        10**6
    )  # in float32, 72 % of 75 are more than 54
    return tf.maximum((share.numerator * count - 1) // share.denominator, 0)
