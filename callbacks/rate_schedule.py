"""A learning rate that is a function of the step."""

import math
from collections.abc import Callable
from typing import Any

import keras

from epochal.callbacks.parts.optimizer import learning_rate, schedule_step, set_learning_rate
from epochal.callbacks.parts.phase import Phase


class RateSchedule(keras.callbacks.Callback):
    """Sets the rate of every step to `rate * shape(step)`.

    The step is the optimizer's own count, so that a resumed run goes on where it was without any
    state here. Logs the `learning_rate` of an epoch's last step.

    Args:
        rate: what the shape is relative to.
        shape: a pure function of the step (from 0), such as those of `callbacks.schedules`.
        steps: how many of the first steps it holds for, for a warm-up before another callback;
            None: for all.
        position: what tells the step instead of the optimizer's count, for a course that follows
            the clock.

    Raises:
        ValueError: a rate that is not positive, or (when training begins) an optimizer with its own
            schedule.
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
        self._is_active = False  # at the step before

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._is_active = False

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the step's rate."""
        step = schedule_step(self.model, self.position)
        was_active = self._is_active
        self._is_active = self.steps is None or step < self.steps
        if self.steps is not None and not self._is_active:
            # A clock may leap over the last of its steps, whose rate is then set late.
            if not was_active or self.position is None:
                return
            step = self.steps - 1
        rate = self.rate * self.shape(step)
        set_learning_rate(self.model, rate, "RateSchedule")

    def is_over(self) -> bool:
        """Tell whether the next step lies past its `steps`; without `steps` there is no such."""
        return self.steps is not None and schedule_step(self.model, self.position) >= self.steps

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the rate."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model)
