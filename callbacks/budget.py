"""A budget of time: training ends so that what comes after it is done in time."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from epochal.callbacks.parts.formatting import format_duration
from epochal.callbacks.parts.phase import Phase


class Budget(keras.callbacks.Callback):
    """Ends training, within an epoch if need be, so that all is done when `seconds` have passed.

    `share` tells how much of the time for training has gone: a schedule that follows it
    (`RateSchedule` with `position`) goes through its whole course, however fast the machine turns
    out to be. Time that a resumed training took before counts; the time between does not.

    Args:
        seconds: for everything: training with its validation, and what comes before and after it.
        after: seconds that are needed after the last step, as a function of how long one validation
            takes.
        validation: seconds of a validation, until one has been measured.
        spent: seconds of it that are gone when training begins.
        clock: returns the time in seconds; it never goes back.

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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        if not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be above 0, got {seconds}.")
        self.seconds = seconds
        self.after = after
        self.validation = validation
        self.spent = spent
        self._clock = clock
        self._most_epochs = math.inf  # that `fit` was told
        self._reset()

    def _reset(self) -> None:
        now = self._clock()
        self.reason: str | None = None
        self._expected_epochs = 0
        self._lost = self.spent
        self._trained = 0.0  # seconds, by an earlier process
        self._validation = self.validation  # seconds that the latest one took
        self._began = now
        self._step_ended = now
        self._validation_began = now

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self._reset()
        if self.params:
            self._most_epochs = self.params["epochs"] or math.inf

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """End training when half of another step like this one would be too much."""
        now = self._clock()
        step = now - self._step_ended
        self._step_ended = now
        self._end_if_past(step / 2)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Note when validation begins."""
        self._validation_began = self._clock()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Note how long it took."""
        now = self._clock()
        self._validation = now - self._validation_began
        self._step_ended = now

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Foretell how many epochs there will be."""
        self._end_if_past(0.0)
        if not self.params:
            return
        done = epoch + 1
        ahead = 0
        if not self.model.stop_training:
            share = max(self.share(), 1e-9)
            remaining = (1 / share - 1) * done
            ahead = max(1, math.ceil(remaining))
        expected = min(done + ahead, self._most_epochs)
        self._expected_epochs = int(expected)

    def expected_epochs(self) -> int:
        """Return how many epochs there will be in all, 0 until the first has ended."""
        return self._expected_epochs

    def share(self) -> float:
        """Return how much of the time for training has gone, from 0 to 1."""
        return min(1.0, self._gone() / max(self._training(), 1e-9))

    def get_state(self) -> dict[str, float]:
        """Return the seconds trained and lost so far, and those of a validation."""
        return {"trained": self._gone(), "lost": self._lost, "validation": self._validation}

    def set_state(self, state: dict[str, float]) -> None:
        """Add what an earlier process trained and lost; after `on_train_begin`."""
        self._trained = state["trained"]
        self._validation = state["validation"]
        self._lost = self.spent + state["lost"]

    def _end_if_past(self, ahead: float) -> None:
        if self._gone() + ahead >= self._training():
            self.reason = f"the budget of {format_duration(self.seconds)} is spent"
            self.model.stop_training = True

    def _training(self) -> float:
        """Return the seconds that training may take."""
        return self.seconds - self._lost - self.after(self._validation)

    def _gone(self) -> float:
        """Return the seconds of training until now, by all processes."""
        return self._trained + self._clock() - self._began
