"""Schedule-free AdamW as its paper has it."""

from typing import Any

import keras
from keras import ops


class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """Keras' `ScheduleFreeAdamW` with the average of Defazio et al. 2024 (2405.15682, algorithm 1).

    Keras means to recover the average from where the sequence was before the step, but reads it
    after it: on TensorFlow a variable's value is the variable. It also weighs all steps alike,
    where the paper weighs them by the square of their rate, and lets decay shrink the weights
    instead of the sequence. The model has the weights at which gradients are taken, as with Keras;
    at the end of training they lie beside the average by a share of 1 - beta_1.

    Raises:
        ValueError: a `beta_1` that is not between 0 and 1, or less than 0 `warmup_steps`.
    """

    def __init__(self, learning_rate: Any = 0.0025, **options: Any):
        super().__init__(learning_rate, **options)
        if not 0 < self.beta_1 < 1 or not self.warmup_steps >= 0:
            received = f"{self.beta_1} and {self.warmup_steps}"
            raise ValueError(f"needs 0 < beta_1 < 1 and warmup_steps of 0 or more, got {received}.")

    def build(self, variables: list[Any]) -> None:
        """Make the sequences, and the sum of squared rates of each weight's steps."""
        if self.built:
            return
        super().build(variables)
        self._sums = []
        for variable in variables:
            total = self.add_variable(
                (),
                dtype=variable.dtype,
                name="sum",
            )
            self._sums.append(total)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight, its sequence, and its second moment."""
        gradient = ops.cast(gradient, variable.dtype)
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(self.iterations + 1, variable.dtype)
        index = self._get_variable_index(variable)
        sequence = self._momentums[index]
        second_moment = self._velocities[index]
        total = self._sums[index]
        average = (variable - (1 - self.beta_1) * sequence) / self.beta_1
        moment_change = ops.square(gradient) - second_moment
        self.assign_add(second_moment, moment_change * (1 - self.beta_2))
        correction = 1 - ops.power(self.beta_2, step)
        deviation = ops.sqrt(second_moment / correction)
        change = gradient / (deviation + self.epsilon)
        if self.warmup_steps:
            rate = rate * ops.minimum(step / self.warmup_steps, 1.0)
        if self.weight_decay and self._use_weight_decay(variable):
            change = change + self.weight_decay * variable
        self.assign_sub(sequence, rate * change)
        square = ops.square(rate)
        self.assign_add(total, square)
        share = ops.divide_no_nan(square, ops.convert_to_tensor(total))
        average = average + (sequence - average) * share
        averages = self.beta_1 * average
        sequences = (1 - self.beta_1) * sequence
        self.assign(variable, averages + sequences)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: `update_step` lets the sequence decay."""
