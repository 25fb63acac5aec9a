"""Exponential averages of a model's weights, kept beside them on every device."""

from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.callbacks.parts.backend import require_built


class Averages:
    """The averages of `model`'s floating-point weights, as `ExponentialMovingAverage` describes them.

    They begin as the weights are. Every replica averages alone, without communication: all have the same weights.
    """

    def __init__(self, model: Any, decay: float) -> None:
        require_built(model, "ExponentialMovingAverage")
        self.model = model
        self.decay = decay
        self.step = 0
        self.weights = [weight for weight in model.weights if _is_averaged(weight)]
        kind: dict[str, Any] = {
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
        }
        with model.distribute_strategy.scope():
            self._averages = [tf.Variable(weight.numpy(), **kind) for weight in self.weights]
        self._move = tf.function(self._on_replicas)

    def move(self) -> None:
        """Takes in the weights after one more step."""
        self.step += 1
        share = np.float32((1 - self.decay) / (1 - self.decay**self.step))
        self._move(tf.constant(share), copy=bool(share == 1))

    def arrays(self) -> list[np.ndarray]:
        """Returns the averages, in the order of `weights`."""
        return [average.numpy() for average in self._averages]

    def assign(self, arrays: list[np.ndarray], step: int) -> None:
        """Takes over averages of so many steps."""
        self.step = step
        for average, array in zip(self._averages, arrays, strict=True):
            average.assign(array)

    def complete(self) -> list[np.ndarray]:
        """Returns the averages, and what is not averaged, in the order of `model.get_weights()`."""
        averages = iter(self._averages)
        return [
            next(averages).numpy() if _is_averaged(w) else w.numpy() for w in self.model.weights
        ]

    def exchange(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Gives the model's weights other values, and returns those they had."""
        before = [weight.numpy() for weight in self.weights]
        for weight, value in zip(self.weights, values, strict=True):
            weight.assign(value)
        return before

    def _on_replicas(self, share: tf.Tensor, *, copy: bool) -> None:
        self.model.distribute_strategy.run(partial(self._on_replica, copy=copy), args=(share,))

    def _on_replica(self, share: tf.Tensor, *, copy: bool) -> None:
        for average, weight in zip(self._averages, self.weights, strict=True):
            if copy:
                average.assign(weight.value)
            else:  # one kernel for `average -= share * (average - weight)`, behind the difference
                apart = average - weight.value
                alpha = tf.cast(share, average.dtype)
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=average.handle, alpha=alpha, delta=apart
                )


def _is_averaged(weight: Any) -> bool:
    return "float" in weight.dtype
