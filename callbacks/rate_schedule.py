"""A learning rate that is a function of the step."""

import math
from collections.abc import Callable
from typing import Any

import keras

from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import course_step, learning_rate, set_learning_rate


class RateSchedule(keras.callbacks.Callback):
    """Sets the rate of every step to `rate * shape(step)`.

    The step is the optimizer's own count, so that a resumed run goes on where it was without any state here. Logs the
    `learning_rate` of an epoch's last step.

    Args:
        rate: what the shape is relative to.
        shape: a pure function of the step (from 0), such as those of `callbacks.schedules`.
        steps: how many of the first steps it holds for, for a warm-up before another callback; None: for all.
        position: what tells the step instead of the optimizer's count, for a course that follows the clock.

    Raises:
        ValueError: a rate that is not positive, or (when training begins) an optimizer with its own schedule.
    """

    phase = Phase.STEER

    def __init__(
        self,
        rate: float,
        shape: Callable[[int], float],
        *,
        steps: int | None = None,
        position: Callable[[], int] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < rate < math.inf:
            raise ValueError(f"rate must be above 0, got {rate}.")
        self.rate = rate
        self.shape = shape
        self.steps = steps
        self.position = position
        self._holds = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier fits."""
        self._holds = False

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the step's rate."""
        step = course_step(self.model, self.position)
        held = self._holds
        self._holds = self.steps is None or step < self.steps
        if self._holds or (held and self.position):  # a clock may leap over the last of its steps
            step = step if self.steps is None else min(step, self.steps - 1)
            set_learning_rate(self.model, self.rate * self.shape(step), "RateSchedule")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the rate."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model)
