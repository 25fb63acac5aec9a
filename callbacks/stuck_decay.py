"""A learning rate that falls when the training loss is stuck."""

import math
from typing import Any

import keras

from epochal.callbacks.parts.optimizer import learning_rate, lowered, set_learning_rate
from epochal.callbacks.parts.patience import Patience
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.window_means import WindowMeans
from epochal.callbacks.rate_schedule import RateSchedule


class StuckDecay(keras.callbacks.Callback):
    """Multiplies the rate by `factor` when the mean loss over windows of steps stops falling.

    Every `window` steps their mean loss is compared with that of the `window` before: less than the
    relative `gain` better counts as stuck, and `patience` times in a row lower the rate. The next
    `cooldown` windows are not judged: a lower rate helps at once, and that is no sign that learning
    goes on. It costs no forward pass: the losses are those of training, read off the epoch's
    running mean. With `steps_per_execution` above 1, a window ends with an execution. Logs the
    `learning_rate` of the epoch.

    Args:
        window: steps in a mean, enough to be above the noise of batches.
        gain: what the loss must fall by, relative to itself.
        patience: windows without that before the rate falls.
        factor: what the rate is multiplied by, above 0 and below 1.
        cooldown: windows after a drop that are not judged.
        least: the rate that it does not fall below.
        after: a RateSchedule whose steps come first, such as a warm-up in the same list; nothing is
            judged before they are over.

    Raises:
        ValueError: arguments out of range, an optimizer with its own schedule, or a `train_step`
            that logs no loss.
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
        after: RateSchedule | None = None,
    ) -> None:
        super().__init__()
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}.")
        if window < 1 or patience < 1 or cooldown < 0:
            raise ValueError(
                "window and patience must be at least 1 and cooldown 0, "
                f"got {window}, {patience} and {cooldown}."
            )
        self.window = window
        self.gain = gain
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.least = least
        self.after = after
        self._means = WindowMeans(["loss"])
        self._counter = Patience(patience, cooldown)
        self._last_loss = math.inf  # of the window before

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._means.reset()
        self._counter.reset()
        self._last_loss = math.inf
        set_learning_rate(
            self.model,
            learning_rate(self.model),
            "StuckDecay",
        )

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the step, and judge a full window."""
        self._means.count_step(batch, self.params, self.model)
        if self._means.steps >= self.window:
            means = self._means.read(logs or {}, self.model)
            self._judge(means["loss"])

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Note what was trained on, which validation forgets."""
        self._means.keep_samples(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the rate."""
        logs = {} if logs is None else logs
        self._means.end_epoch(logs, self.model)
        logs["learning_rate"] = learning_rate(self.model)

    def get_state(self) -> dict[str, Any]:
        """Return the window so far and what was counted; the rate is the optimizer's."""
        return {
            "before": self._last_loss,
            "stuck": self._counter.wait,
            "cooling": self._counter.cooling,
            **self._means.get_state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._last_loss = float(state["before"])
        self._counter.wait = int(state["stuck"])
        self._counter.cooling = int(state["cooling"])
        self._means.set_state(state)

    def _judge(self, loss: float) -> None:
        limit = self._last_loss * (1 - self.gain)
        self._last_loss = loss
        is_judged = self.after is None or self.after.is_over()
        is_stuck = is_judged and not loss < limit
        if self._counter.is_lost(disappointed=is_stuck):
            rate = learning_rate(self.model)
            rate = lowered(rate, self.factor, self.least)
            set_learning_rate(self.model, rate, "StuckDecay")
