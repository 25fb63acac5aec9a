"""Progress of a training: one line an epoch, for people."""

import shutil
import time
from collections.abc import Callable
from typing import Any, TextIO

import keras
import numpy as np

from epochal.callbacks.parts.cleanup import call_on_failure
from epochal.callbacks.parts.formatting import (
    format_bar,
    format_duration,
    format_number,
    format_speed,
    log_order,
)
from epochal.callbacks.parts.live_line import LiveLine
from epochal.callbacks.parts.monitor import direction, improves
from epochal.callbacks.parts.optimizer import learning_rate
from epochal.callbacks.parts.phase import Phase


class Progress(keras.callbacks.Callback):
    """Prints one line an epoch, and on a terminal a live bar, at most ten times a second.

    A line holds losses and metrics of one value (`*` marks the best `monitor` so far), learning
    rate, training speed (without validation), the epoch's duration and the time left for the run.
    No colours. Give `fit` `verbose=0`.

    Args:
        images_per_epoch: to show images/s; None shows steps/s.
        monitor: the quantity whose best is marked, if it is logged.
        mode: "min", "max" or "auto" (from the name of `monitor`).
        stream: where to write; None is stderr.
        expected_epochs: returns how many epochs there will be in all, 0 while nobody knows, such as
            that of a `Budget`; None: as many as `fit` was given.
        clock: returns the time in seconds; it never goes back.
    """

    phase = Phase.RECORD
    key = "progress"

    def __init__(
        self,
        *,
        images_per_epoch: int | None = None,
        monitor: str = "val_accuracy",
        mode: str = "auto",
        stream: TextIO | None = None,
        expected_epochs: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.images_per_epoch = images_per_epoch
        self.monitor = monitor
        self._line = LiveLine(stream)
        self._expected_epochs = expected_epochs
        self._clock = clock
        self._sign = direction(monitor, mode)
        self.on_train_begin()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self.best: float | None = None
        self._line.reset()
        self.on_epoch_begin(0)
        call_on_failure(self, self._line.end)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the epoch's clock."""
        self._steps_done = 0  # without those that a resumed run skipped
        self._next_batch = 0
        self._seconds = 0.0  # of the steps done
        self._head = f"epoch {epoch + 1}/{self._epochs() or '?'}"
        self._began = self._clock()
        self._first_step = self._began

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the steps' clock at the first that is not skipped by a resumed run."""
        self._next_batch = batch
        if not self._steps_done:
            self._first_step = self._clock()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the steps done, several with `steps_per_execution`, and draw the live bar."""
        now = self._clock()
        self._steps_done += batch + 1 - self._next_batch
        self._next_batch = batch + 1
        self._seconds = now - self._first_step
        if self._line.is_due(now):
            loss = 0.0 if logs is None else float(logs.get("loss", 0.0))
            self._line.draw(self._live_line(batch + 1, loss), now)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Print the epoch's line."""
        figures = {}
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:  # a metric may also have a value for each class
                figures[name] = value
        rate = figures.pop("learning_rate", learning_rate(self.model))
        words = [self._head]
        for name in sorted(figures, key=log_order):
            words.append(self._figure(name, figures[name]))
        spent = self._clock() - self._began
        left = format_duration(self._seconds_left(epoch, spent))
        words += [f"lr {rate:.3g}", self._speed(), format_duration(spent), f"{left} left"]
        self._line.print("  ".join(words))

    def get_state(self) -> dict[str, float | None]:
        """Return the best value so far."""
        return {"best": self.best}

    def set_state(self, state: dict[str, float | None]) -> None:
        """Take over what `get_state` returned."""
        self.best = state["best"]

    def _param(self, name: str) -> int:
        return (self.params or {}).get(name) or 0

    def _epochs(self) -> int:
        if self._expected_epochs is None:
            return self._param("epochs")
        return self._expected_epochs()

    def _seconds_left(self, epoch: int, spent: float) -> float:
        """Return the seconds of the epochs after this one, which took `spent`."""
        # A resumed run is faster in its first epoch, by the steps that it skipped.
        skipped = max(self._param("steps") - self._steps_done, 0)
        per_step = self._seconds / max(self._steps_done, 1)
        epochs_left = max(self._epochs() - epoch - 1, 0)
        return (spent + skipped * per_step) * epochs_left

    def _speed(self) -> str:
        images_per_step = (self.images_per_epoch or 0) / max(self._param("steps"), 1)
        return format_speed(self._steps_done / max(self._seconds, 1e-9), images_per_step)

    def _figure(self, name: str, value: float) -> str:
        text = f"{name} {format_number(value)}"
        if name != self.monitor:
            return text
        if improves(value, self.best, sign=self._sign):
            self.best = value
            return f"{text}*"
        if self.best is None:
            return text
        return f"{text} (best {format_number(self.best)})"

    def _live_line(self, step: int, loss: float) -> str:
        steps = self._param("steps")
        width = shutil.get_terminal_size().columns - 1
        words = [f"loss {format_number(loss)}", self._speed()]
        if not steps:
            return format_bar(self._head, [f"step {step}", *words], None, width)
        share = step / steps
        per_step = self._seconds / self._steps_done
        left = format_duration((steps - step) * per_step)
        words = [f"{share:4.0%}", f"{left} left", *words]
        return format_bar(self._head, words, share, width)
