"""Ends training in time."""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

import keras

from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.text import clock


class Budget(keras.callbacks.Callback):
    """Ends training, within an epoch if need be, so that what comes after it is done when `seconds` have passed.

    `share` tells how much of the time for training has gone: a schedule that follows it (`RateSchedule` with
    `position`) goes through its whole course, however fast the machine turns out to be. Time that a resumed training
    took before counts; the time between does not.

    Args:
        seconds: for everything: training with its validation, and what comes before and after it.
        after: seconds that are needed after the last step, as a function of how long one validation takes.
        validation: seconds of a validation, until one has been measured.
        spent: seconds of it that are gone when training begins.

    Raises:
        ValueError: a number of seconds that is not positive.
    """

    phase = Phase.MEASURE
    key = "budget"

    def __init__(
        self,
        seconds: float,
        *,
        after: Callable[[float], float] = lambda validation: validation,
        validation: float = 0.0,
        spent: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be above 0, got {seconds}.")
        self.seconds = seconds
        self.after = after
        self.validation = validation
        self.spent = spent
        self._most = math.inf  # epochs, as `fit` was told
        self._forget()

    def _forget(self) -> None:
        self.reason: str | None = None
        self._lost = self.spent
        self._trained = 0.0
        self._measured = self.validation
        self._began = self._stepped = self._testing = monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._forget()
        if self.params:
            self._most = self.params["epochs"] or math.inf
            self.params["epochs"] = 0  # nobody knows until one has ended

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Ends training when half of another step like this one would be too much."""
        now = monotonic()
        last = now - self._stepped
        self._stepped = now
        self._end_if_past(last / 2)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes when validation begins."""
        self._testing = monotonic()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Notes how long it took."""
        self._measured = monotonic() - self._testing
        self._stepped = monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the others how many epochs there will be, as far as that is known."""
        self._end_if_past(0.0)
        if self.params:
            more = (1 / max(self.share(), 1e-9) - 1) * (epoch + 1)
            ahead = 0 if self.model.stop_training else max(1, math.ceil(more))
            self.params["epochs"] = min(epoch + 1 + ahead, self._most)

    def share(self) -> float:
        """How much of the time for training has gone, from 0 to 1."""
        return min(1.0, self._gone() / max(self._training(), 1e-9))

    def get_state(self) -> dict[str, float]:
        """Returns the seconds trained and lost so far, and those of a validation."""
        return {"trained": self._gone(), "lost": self._lost, "validation": self._measured}

    def set_state(self, state: dict[str, float]) -> None:
        """Adds what an earlier process trained and lost; after `on_train_begin`."""
        self._trained = state["trained"]
        self._measured = state["validation"]
        self._lost = self.spent + state["lost"]

    def _end_if_past(self, ahead: float) -> None:
        if self._gone() + ahead >= self._training():
            self.reason = f"the budget of {clock(self.seconds)} is spent"
            self.model.stop_training = True

    def _training(self) -> float:
        """Seconds that training may take."""
        return self.seconds - self._lost - self.after(self._measured)

    def _gone(self) -> float:
        return self._trained + monotonic() - self._began
