"""A learning rate that falls when the training loss is stuck, judged by the losses of the steps themselves."""

import math
from collections.abc import Callable
from typing import Any

import keras

from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import course_step, learning_rate, lowered, set_learning_rate
from epochal.callbacks.parts.windows import Windows


class StuckDecay(keras.callbacks.Callback):
    """Multiplies the rate by `factor` when the moving average of the steps' losses has stopped falling.

    Every `window` steps their mean loss is compared with that of the `window` before: less than the relative `gain`
    better counts as stuck, and `patience` times in a row lower the rate. The next `cooldown` windows are not judged: a
    lower rate helps at once, and that is no sign that learning goes on. It costs no forward pass: the losses are those
    of training, read off the epoch's running mean. With `steps_per_execution` above 1, a window ends with an execution.
    Logs the `learning_rate` of the epoch.

    Args:
        window: steps in a mean, enough to be above the noise of batches.
        gain: what the loss must fall by, relative to itself.
        patience: windows without that before the rate falls.
        factor: what the rate is multiplied by, above 0 and below 1.
        cooldown: windows after a drop that are not judged.
        least: the rate that it does not fall below.

    Raises:
        ValueError: arguments out of range, an optimizer with its own schedule, or a `train_step` that logs no loss.
    """

    phase = Phase.STEER
    key = "stuck_decay"

    def __init__(
        self,
        window: int = 500,
        *,
        gain: float = 0.01,
        patience: int = 2,
        factor: float = 0.1,
        cooldown: int = 1,
        least: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}.")
        if window < 1 or patience < 1 or cooldown < 0:
            counts = f"{window}, {patience} and {cooldown}"
            raise ValueError(
                f"window and patience must be at least 1 and cooldown 0, got {counts}."
            )
        self.window = window
        self.gain = gain
        self.patience = patience
        self.factor = factor
        self.cooldown = cooldown
        self.least = least
        self.begin = 0  # steps of the optimizer in which nothing is judged: those of a warm-up by another callback
        self.position: Callable[[], int] | None = (
            None  # what tells them instead, for a warm-up that follows the clock
        )
        self._windows = Windows(["loss"])
        self._reset()

    def _reset(self) -> None:
        self.before = math.inf
        self.stuck = 0
        self.cooling = 0
        self._windows.reset()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier fits."""
        self._reset()
        set_learning_rate(self.model, learning_rate(self.model), "StuckDecay")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the step, and judges a full window."""
        self._windows.step(batch, self.params, self.model)
        if self._windows.seen >= self.window:
            self._judge(self._windows.read(logs or {}, self.model)["loss"])

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes what was trained on, which validation forgets."""
        self._windows.begin_test(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the rate."""
        logs = {} if logs is None else logs
        self._windows.end_epoch(logs, self.model)
        logs["learning_rate"] = learning_rate(self.model)

    def get_state(self) -> dict[str, Any]:
        """Returns the window so far and what was counted; the rate is the optimizer's."""
        counts = {"before": self.before, "stuck": self.stuck, "cooling": self.cooling}
        return {**counts, **self._windows.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self.before = float(state["before"])
        self.stuck = int(state["stuck"])
        self.cooling = int(state["cooling"])
        self._windows.set_state(state)

    def _judge(self, now: float) -> None:
        moved = now < self.before * (1 - self.gain)
        early = course_step(self.model, self.position) < self.begin
        self.stuck = 0 if moved or early or self.cooling else self.stuck + 1
        self.cooling = max(0, self.cooling - 1)
        self.before = now
        if self.stuck >= self.patience:
            rate = lowered(learning_rate(self.model), self.factor, self.least)
            set_learning_rate(self.model, rate, "StuckDecay")
            self.stuck = 0
            self.cooling = self.cooldown
