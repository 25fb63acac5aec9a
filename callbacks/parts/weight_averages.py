"""Exponential averages of a model's weights, kept beside them on every device."""

from typing import Any

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.backend import require_built


class WeightAverages:
    """The averages of a model's floating-point weights, as `ExponentialMovingAverage` has them.

    They begin as the weights are. Every replica averages alone, without communication: all have the
    same weights.
    """

    def __init__(self, model: Any, decay: float) -> None:
        require_built(model, "ExponentialMovingAverage")
        self.model = model
        self.decay = decay
        self.step = 0
        self.weights = [weight for weight in model.weights if _is_averaged(weight)]
        self._averages = []
        with model.distribute_strategy.scope():
            for weight in self.weights:
                average = tf.Variable(
                    weight.numpy(),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                )
                self._averages.append(average)
        self._move = tf.function(self._move_on_replicas)

    def move(self) -> None:
        """Take in the weights after one more step."""
        self.step += 1
        share = np.float32((1 - self.decay) / (1 - self.decay**self.step))
        self._move(tf.constant(share), copy=bool(share == 1))

    def read(self) -> list[np.ndarray]:
        """Return the averages, in the order of `weights`."""
        return [average.numpy() for average in self._averages]

    def assign(self, arrays: list[np.ndarray], step: int) -> None:
        """Take over averages of `step` steps."""
        self.step = step
        for average, array in zip(self._averages, arrays, strict=True):
            average.assign(array)

    def read_complete(self) -> list[np.ndarray]:
        """Return averages, and weights that have none, in the order of `model.get_weights()`."""
        averages = iter(self._averages)
        arrays = []
        for weight in self.model.weights:
            if _is_averaged(weight):
                weight = next(averages)
            arrays.append(weight.numpy())
        return arrays

    def exchange(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Give the averaged weights of the model other values, and return those they had."""
        before = [weight.numpy() for weight in self.weights]
        for weight, array in zip(self.weights, arrays, strict=True):
            weight.assign(array)
        return before

    def _move_on_replicas(self, share: tf.Tensor, *, copy: bool) -> None:
        def move(share: tf.Tensor) -> None:
            for average, weight in zip(
                self._averages,
                self.weights,
                strict=True,
            ):
                if copy:
                    average.assign(weight.value)
                else:
                    # One kernel for `average -= share * (average - weight)`, behind the difference.
                    tf.raw_ops.ResourceApplyGradientDescent(
                        var=average.handle,
                        alpha=tf.cast(share, average.dtype),
                        delta=average - weight.value,
                    )

        self.model.distribute_strategy.run(move, args=(share,))


def _is_averaged(weight: Any) -> bool:
    return "float" in weight.dtype
