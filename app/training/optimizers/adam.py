"""Adam with the variants of its paper, and those that course notes simplify it to."""

from typing import Any

import keras
from keras import ops

MODES = ("keras", "outside", "inside")


class Adam(keras.optimizers.Adam):
    """Keras' `Adam` with a choice of epsilon's place, bias correction and first second moment.

    With the corrected moments m and v of Kingma and Ba 2015 (arXiv:1412.6980, algorithm 1) and the
    rate r.

    Args:
        epsilon_mode: "outside" (the paper): `w -= r m / (sqrt(v) + e)`; "inside": `w -= r m /
            sqrt(v + e)`; "keras" (the paper's section 2): e is added to the root of the uncorrected
            v, a larger e at the beginning.
        bias_correction: False takes the moments as they are: a first step of about 3.2 r at the
            usual betas.
        v_init: the second moment before the first step; 1 with `bias_correction=False` begins with
            small steps.

    Raises:
        ValueError: an unknown mode, v_init below 0, or v_init above 0 with a correction meant for
            0.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        epsilon_mode: str = "keras",
        bias_correction: bool = True,
        v_init: float = 0.0,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        if epsilon_mode not in MODES:
            raise ValueError(
                f"epsilon_mode must be one of {', '.join(MODES)}, got {epsilon_mode!r}."
            )
        if v_init < 0 or (v_init and bias_correction):
            raise ValueError(
                f"v_init must be 0, or above it with bias_correction=False, got {v_init}."
            )
        self.epsilon_mode = epsilon_mode
        self.bias_correction = bias_correction
        self.v_init = v_init

    def build(self, var_list: list[Any]) -> None:
        """Make the moments."""
        if self.built:
            return
        super().build(var_list)
        if self.v_init:
            for moment in self._velocities:
                moment.assign(
                    ops.full(
                        moment.shape,
                        self.v_init,
                        moment.dtype,
                    )
                )

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, and its moments."""
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        m, v = self._update_moments(gradient, variable)
        epsilon = self.epsilon
        if self.bias_correction:
            # Keras' own rounds the betas to float32, which is 1e-6 of a weight in float64.
            step = ops.cast(self.iterations + 1, variable.dtype)
            correction = 1 - ops.power(self.beta_2, step)
            m = m / (1 - ops.power(self.beta_1, step))
            v = v / correction
            if self.epsilon_mode == "keras":
                epsilon = epsilon / ops.sqrt(correction)
        scale = ops.sqrt(v) + epsilon
        if self.epsilon_mode == "inside":
            scale = ops.sqrt(v + epsilon)
        self.assign_sub(variable, rate * m / scale)

    def _update_moments(self, gradient: Any, variable: Any) -> tuple[Any, Any]:
        """Take a gradient into the moments, and return them uncorrected."""
        index = self._get_variable_index(variable)
        m = self._momentums[index]
        v = self._velocities[index]
        m_change = gradient - m
        self.assign_add(m, m_change * (1 - self.beta_1))
        v_change = ops.square(gradient) - v
        self.assign_add(v, v_change * (1 - self.beta_2))
        if self.amsgrad:
            largest = self._velocity_hats[index]
            self.assign(largest, ops.maximum(largest, v))
            v = largest
        return ops.convert_to_tensor(m), ops.convert_to_tensor(v)

    def get_config(self) -> dict[str, Any]:
        """Return Keras' configuration and the choices."""
        choices = {
            "epsilon_mode": self.epsilon_mode,
            "bias_correction": self.bias_correction,
            "v_init": self.v_init,
        }
        return {**super().get_config(), **choices}
