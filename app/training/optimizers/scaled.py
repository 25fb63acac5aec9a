"""AdaGrad and RMSProp with epsilon inside or outside the root."""

from typing import Any

import keras
from keras import ops

MODES = ("inside", "outside")


class Adagrad(keras.optimizers.Adagrad):
    """Keras' `Adagrad` with a choice of where epsilon stands (Duchi et al. 2011).

    Args:
        epsilon_mode: with the sum s of squared gradients, "inside" (Keras): `w -= r g / sqrt(s +
            e)`; "outside": `w -= r g / (sqrt(s) + e)`.

    Raises:
        ValueError: an unknown mode.
    """

    def __init__(self, learning_rate: Any = 0.001, *, epsilon_mode: str = "inside", **options: Any):
        super().__init__(learning_rate, **options)
        _check_mode(epsilon_mode)
        self.epsilon_mode = epsilon_mode

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and the sum of its squared gradients."""
        if self.epsilon_mode == "inside":
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        total = self._accumulators[index]
        self.assign_add(total, ops.square(gradient))
        scale = ops.sqrt(total) + self.epsilon
        self.assign_sub(variable, rate * gradient / scale)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration and the mode."""
        return {**super().get_config(), "epsilon_mode": self.epsilon_mode}


class RMSprop(keras.optimizers.RMSprop):
    """Keras' `RMSprop` with a choice of epsilon's place (Tieleman and Hinton 2012, lecture 6e).

    Args:
        epsilon_mode: with the average s of squared gradients, "inside" (Keras): `w -= r g / sqrt(s
            + e)`; "outside": `w -= r g / (sqrt(s) + e)`.

    Raises:
        ValueError: an unknown mode, or "outside" with `centered` or a momentum, for which there is
            no source.
    """

    def __init__(self, learning_rate: Any = 0.001, *, epsilon_mode: str = "inside", **options: Any):
        super().__init__(learning_rate, **options)
        _check_mode(epsilon_mode)
        if epsilon_mode == "outside" and (self.centered or self.momentum):
            raise ValueError(
                "epsilon_mode 'outside' goes without centered and momentum; take 'inside'."
            )
        self.epsilon_mode = epsilon_mode

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and the average of its squared gradients."""
        if self.epsilon_mode == "inside":
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        index = self._get_variable_index(variable)
        average = self._velocities[index]
        change = ops.square(gradient) - average
        self.assign_add(average, change * (1 - self.rho))
        scale = ops.sqrt(average) + self.epsilon
        self.assign_sub(variable, rate * gradient / scale)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration and the mode."""
        return {**super().get_config(), "epsilon_mode": self.epsilon_mode}


def _check_mode(epsilon_mode: str) -> None:
    if epsilon_mode not in MODES:
        raise ValueError(f"epsilon_mode must be one of {', '.join(MODES)}, got {epsilon_mode!r}.")
