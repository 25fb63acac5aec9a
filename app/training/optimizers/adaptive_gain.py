"""Adaptive gains: SGD whose weights each have a rate that follows the signs of the gradient."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class AdaptiveGain(keras.optimizers.Optimizer):
    """Raises the gain of a weight whose gradient keeps its sign, lowers that of an oscillating one.

    `w -= r gain g`; the gain, at first 1, is multiplied by `up` where the gradient has the sign of
    its moving average and by `down` where not, within `least` and `most` (Jacobs 1988,
    delta-bar-delta, with a factor as in Rprop, Riedmiller and Braun 1993).

    Raises:
        ValueError: factors that are not on their side of 1, or limits not around 1.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        *,
        up: float = 1.05,
        down: float = 0.7,
        average: float = 0.7,
        limits: tuple[float, float] = (0.01, 100.0),
        **options: Any,
    ):
        super().__init__(learning_rate=learning_rate, **options)
        check_gains(up, down, limits)
        if not 0 <= average < 1:
            raise ValueError(f"average must be 0 or more and below 1, got {average}.")
        self.up = up
        self.down = down
        self.average = average
        self.limits = tuple(limits)

    def build(self, var_list: list[Any]) -> None:
        """Make the gains and the averages."""
        if self.built:
            return
        super().build(var_list)
        self._gains = self.add_optimizer_variables(
            var_list,
            "gain",
            initializer="ones",
        )
        self._averages = self.add_optimizer_variables(var_list, "average")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, its gain and its average gradient."""
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        gain = self._gains[index]
        average = self._averages[index]
        agreement = gradient * average
        falling = ops.where(agreement < 0, self.down, 1.0)
        factor = ops.where(agreement > 0, self.up, falling)
        factor = ops.cast(factor, variable.dtype)
        least, most = self.limits
        moved_gain = gain * factor
        self.assign(gain, ops.clip(moved_gain, least, most))
        change = gradient - average
        self.assign_add(average, change * (1 - self.average))
        step = rate * gain * gradient
        self.assign_sub(variable, step)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration, the factors and the limits."""
        arguments = {
            "up": self.up,
            "down": self.down,
            "average": self.average,
            "limits": list(self.limits),
        }
        return {**super().get_config(), **arguments}


def check_gains(up: float, down: float, limits: Sequence[float]) -> None:
    """Raise ValueError for factors that are not on their side of 1, or limits not around it."""
    if not 0 < down < 1 < up < math.inf:
        raise ValueError(f"needs 0 < down < 1 < up, all finite, got {down} and {up}.")
    if len(limits) != 2 or not 0 < limits[0] <= 1 <= limits[1] < math.inf:
        raise ValueError(
            f"limits must be [low, high] with 0 < low <= 1 <= high, got {list(limits)}."
        )
