"""AdamW without a schedule, as its paper has it."""

from typing import Any

import keras
from keras import ops


class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """Keras' `ScheduleFreeAdamW` with the paper's average (Defazio et al. 2024, arXiv:2405.15682, algorithm 1).

    Keras means to recover the average from where the sequence was before the step, but reads it after it: on TensorFlow
    a variable's value is the variable.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Moves a weight, its sequence, and its second moment."""
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        step, index = ops.cast(self.iterations + 1, variable.dtype), self._get_variable_index(variable)
        sequence, v = self._momentums[index], self._velocities[index]
        average = (variable - (1 - self.beta_1) * sequence) / self.beta_1
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        root = ops.sqrt(v / (1 - ops.power(self.beta_2, step))) + self.epsilon
        if self.warmup_steps:
            rate = rate * ops.minimum(step / self.warmup_steps, 1.0)
        self.assign_sub(sequence, rate * gradient / root)
        average = average + (sequence - average) / step
        self.assign(variable, self.beta_1 * average + (1 - self.beta_1) * sequence)
