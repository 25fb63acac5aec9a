"""One line an epoch, for people."""

import shutil
import sys
from time import monotonic
from typing import TextIO

import keras
import numpy as np

from epochal.callbacks.parts.failure import undo_on_failure
from epochal.callbacks.parts.monitor import direction, improves
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import learning_rate
from epochal.callbacks.parts.text import bar, clock, is_terminal, number, rank, speed


class Progress(keras.callbacks.Callback):
    """Prints one line an epoch, and on a terminal a live bar within the epoch, at most ten times a second.

    A line holds losses and metrics of one value (`*` marks the best `monitor` so far), learning rate, training
    speed (without validation), the epoch's duration and the time left for the run. No colours. Give `fit`
    `verbose=0`.

    Args:
        images_per_epoch: to show images/s; None shows steps/s.
        monitor: the quantity whose best is marked, if it is logged.
        mode: "min", "max" or "auto" (from the name of `monitor`).
        stream: where to write; None is stderr.
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
    ) -> None:
        super().__init__()
        self.images_per_epoch = images_per_epoch
        self.monitor = monitor
        self.stream = stream
        self._sign = direction(monitor, mode)
        self.on_train_begin()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        self.best: float | None = None
        self._drawn = ""
        self._drawn_at = -1.0
        self.on_epoch_begin(0)
        undo_on_failure(self, self._end_live)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the epoch's clock."""
        self._seen = 0
        self._next = 0
        self._seconds = 0.0
        self._head = f"epoch {epoch + 1}/{self._param('epochs') or '?'}"
        self._began = self._first_step = monotonic()

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the steps' clock at the first that is not skipped by a resumed run."""
        self._next = batch
        if not self._seen:
            self._first_step = monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the steps done, of which steps_per_execution makes several, and draws the live bar."""
        self._seen = self._seen + batch + 1 - self._next
        self._next = batch + 1
        self._seconds = (now := monotonic()) - self._first_step
        if now - self._drawn_at >= 0.1 and is_terminal(self.stream or sys.stderr):
            self._drawn_at = now
            self._write(self._live(batch + 1, float((logs or {}).get("loss", 0.0))))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints the epoch's line."""
        figures = {name: value for name, value in (logs or {}).items() if np.ndim(value) == 0}
        rate = figures.pop("learning_rate", learning_rate(self.model))
        words = [self._word(name, figures[name]) for name in sorted(figures, key=rank)]
        spent = monotonic() - self._began
        skipped = max(self._param("steps") - self._seen, 0) * self._seconds / max(self._seen, 1)
        left = (spent + skipped) * max(self._param("epochs") - epoch - 1, 0)
        words += [f"lr {rate:.3g}", self._speed(), clock(spent), f"{clock(left)} left"]
        self._write("  ".join([self._head, *words]), end="\n")

    def get_state(self) -> dict[str, float | None]:
        """Returns the best value so far."""
        return {"best": self.best}

    def set_state(self, state: dict[str, float | None]) -> None:
        """Takes over what `get_state` returned."""
        self.best = state["best"]

    def _param(self, name: str) -> int:
        return (self.params or {}).get(name) or 0

    def _speed(self) -> str:
        per_step = (self.images_per_epoch or 0) / max(self._param("steps"), 1)
        return speed(self._seen / max(self._seconds, 1e-9), per_step)

    def _word(self, name: str, value: float) -> str:
        text = f"{name} {number(value)}"
        if name == self.monitor and improves(value, self.best, sign=self._sign):
            self.best = value
            return f"{text}*"
        return (
            text
            if name != self.monitor or self.best is None
            else f"{text} (best {number(self.best)})"
        )

    def _live(self, step: int, loss: float) -> str:
        steps = self._param("steps")
        width = shutil.get_terminal_size().columns - 1
        words = [f"loss {number(loss)}", self._speed()]
        if not steps:
            return bar(self._head, [f"step {step}", *words], None, width)
        left = (steps - step) * self._seconds / self._seen
        return bar(
            self._head, [f"{step / steps:4.0%}", f"{clock(left)} left", *words], step / steps, width
        )

    def _write(self, text: str, *, end: str = "") -> None:
        if self._drawn or not end:  # a live line is overwritten with blanks: no terminal codes
            text = f"\r{text:{len(self._drawn)}}"
        self._drawn = "" if end else text.strip()
        print(text, end=end, file=self.stream or sys.stderr, flush=True)

    def _end_live(self) -> None:
        if self._drawn:
            self._write(self._drawn, end="\n")
