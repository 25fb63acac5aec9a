"""A learning rate that falls when a validation figure does not get better."""

import math
from typing import Any

import keras

from epochal.callbacks.parts.monitor import HIGHER, LOWER, Monitored, direction, improves
from epochal.callbacks.parts.optimizer import learning_rate, lowered, set_learning_rate
from epochal.callbacks.parts.patience import Patience
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.rate_schedule import RateSchedule


class PlateauDecay(keras.callbacks.Callback):
    """Multiplies the rate by `factor` after `patience` epochs without an improvement of `monitor`.

    Keras' `ReduceLROnPlateau`, which forgets where it stood when a run is resumed. Values that are
    not finite are no improvement; epochs without validation do not count. Logs the `learning_rate`
    of the epoch.

    Args:
        monitor: the logged quantity to watch.
        factor: what the rate is multiplied by, above 0 and below 1.
        patience: epochs without improvement before that, at least 1.
        cooldown: epochs after a drop in which nothing is counted.
        least: the rate that it does not fall below.
        min_delta: what an improvement has to exceed.
        after: a RateSchedule whose steps come first, such as a warm-up in the same list; nothing is
            judged before they are over.

    Raises:
        ValueError: arguments out of range, a metric that is not logged, or an optimizer with its
            own schedule.
    """

    phase = Phase.STEER
    key = "plateau_decay"

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        cooldown: int = 0,
        least: float = 0.0,
        min_delta: float = 0.0,
        after: RateSchedule | None = None,
    ) -> None:
        super().__init__()
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}.")
        if patience < 1 or cooldown < 0:
            raise ValueError(
                f"patience must be at least 1 epoch and cooldown 0, got {patience} and {cooldown}."
            )
        self.monitor = monitor
        self.factor = factor
        self.patience = patience
        self.cooldown = cooldown
        self.least = least
        self.min_delta = min_delta
        self.after = after
        words = ", ".join(LOWER + HIGHER)
        self._sign = direction(monitor, remedy=f"name the metric so that one of {words} is in it")
        self._monitored = Monitored("PlateauDecay", monitor)
        self._counter = Patience(patience, cooldown)
        self.best: float | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self.best = None
        self._monitored.begin()
        self._counter.reset()
        set_learning_rate(
            self.model,
            learning_rate(self.model),
            "PlateauDecay",
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compare the epoch with the best so far, and lower the rate for the next."""
        logs = {} if logs is None else logs
        value = self._monitored.value(logs)
        rate = learning_rate(self.model)
        logs["learning_rate"] = rate
        if value is None:
            return
        is_better = improves(
            value,
            self.best,
            sign=self._sign,
            min_delta=self.min_delta,
        )
        if is_better:
            self.best = value
        is_judged = self.after is None or self.after.is_over()
        is_plateau = is_judged and not is_better
        if self._counter.is_lost(disappointed=is_plateau):
            rate = lowered(rate, self.factor, self.least)
            set_learning_rate(self.model, rate, "PlateauDecay")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Refuse a training that never had what it was to watch."""
        if self.best is None:
            self._monitored.end()

    def get_state(self) -> dict[str, float]:
        """Return the best value and what was counted since; the rate is the optimizer's."""
        return {
            "best": math.nan if self.best is None else self.best,
            "wait": self._counter.wait,
            "cooling": self._counter.cooling,
        }

    def set_state(self, state: dict[str, float]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self.best = None if math.isnan(state["best"]) else float(state["best"])
        self._counter.wait = int(state["wait"])
        self._counter.cooling = int(state["cooling"])
