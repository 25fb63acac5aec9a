"""A learning rate that falls when a validation figure does not get better."""

import math
from collections.abc import Callable
from typing import Any

import keras

from epochal.callbacks.parts.monitor import HIGHER, LOWER, Monitored, direction, improves
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import course_step, learning_rate, lowered, set_learning_rate


class PlateauDecay(keras.callbacks.Callback):
    """Multiplies the rate by `factor` after `patience` epochs without an improvement of `monitor`.

    Keras' `ReduceLROnPlateau`, which forgets where it stood when a run is resumed. Values that are not finite are no
    improvement; epochs without validation do not count. Logs the `learning_rate` of the epoch.

    Args:
        monitor: the logged quantity to watch.
        factor: what the rate is multiplied by, above 0 and below 1.
        patience: epochs without improvement before that, at least 1.
        cooldown: epochs after a drop in which nothing is counted.
        least: the rate that it does not fall below.
        min_delta: what an improvement has to exceed.

    Raises:
        ValueError: arguments out of range, a metric that is not logged, or an optimizer with its own schedule.
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
        self.begin = 0  # steps of the optimizer in which nothing is counted: those of a warm-up by another callback
        self.position: Callable[[], int] | None = (
            None  # what tells them instead, for a warm-up that follows the clock
        )
        self._sign = direction(
            monitor, remedy=f"name the metric so that one of {', '.join(LOWER + HIGHER)} is in it"
        )
        self._monitored = Monitored("PlateauDecay", monitor)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self._monitored.begin()
        self.wait = self.cooling = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier fits."""
        self._reset()
        set_learning_rate(self.model, learning_rate(self.model), "PlateauDecay")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compares the epoch with the best so far, and lowers the rate for the next."""
        logs = {} if logs is None else logs
        value = self._monitored.value(logs)
        rate = logs["learning_rate"] = learning_rate(self.model)
        if value is None:
            return
        better = improves(value, self.best, sign=self._sign, min_delta=self.min_delta)
        if better:
            self.best = value
        early = course_step(self.model, self.position) < self.begin
        self.wait = 0 if better or early or self.cooling else self.wait + 1
        self.cooling = max(0, self.cooling - 1)
        if self.wait >= self.patience:
            set_learning_rate(self.model, lowered(rate, self.factor, self.least), "PlateauDecay")
            self.wait = 0
            self.cooling = self.cooldown

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses a training that never had what it was to watch."""
        if self.best is None:
            self._monitored.end()

    def get_state(self) -> dict[str, float]:
        """Returns the best value and what was counted since; the rate is the optimizer's."""
        return {
            "best": math.nan if self.best is None else self.best,
            "wait": self.wait,
            "cooling": self.cooling,
        }

    def set_state(self, state: dict[str, float]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self.best = None if math.isnan(state["best"]) else float(state["best"])
        self.wait = int(state["wait"])
        self.cooling = int(state["cooling"])
