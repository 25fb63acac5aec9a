"""A line every few iterations, for people and for programs."""

import re
import time
from pathlib import Path
from typing import Any

import keras

from epochal.callbacks.parts.lines import Lines
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import learning_rate
from epochal.callbacks.parts.records import Records
from epochal.callbacks.parts.windows import Windows


class TrainingLog(keras.callbacks.Callback):
    """Writes the mean loss (and accuracy) of every so many iterations to `iterations.log` and `iterations.jsonl`.

    The iteration is the optimizer's own count. Lines that are there already stay, except those past that count when
    training begins: they are of a training that was stopped, and come again. The JSON lines hold no times, so that a
    resumed training writes the same ones.

    Args:
        folder: where the two files go; made if missing.
        every: iterations in a line; an execution of several steps ends before it is written.

    Raises:
        ValueError: `every` below 1, or a `train_step` that logs no loss.
    """

    phase = Phase.RECORD
    key = "training_log"

    def __init__(self, folder: str | Path, *, every: int = 10) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 iteration, got {every}.")
        self.folder = Path(folder)
        self.every = every
        self._text = Lines(self.folder / "iterations.log", _place)
        self._records = Records(self.folder / "iterations.jsonl")
        self._windows = Windows(("loss", "accuracy"))
        self._before = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops the lines that come again."""
        self._windows.reset()
        self._before = self._iteration()
        for lines in (self._text, self._records):
            lines.begin(self._iteration())

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes a line when it is time."""
        self._windows.step(batch, self.params, self.model)
        iteration = self._iteration()
        before = self._before
        self._before = iteration  # which stands still where gradients are accumulated, or leaps in one execution
        if iteration // self.every > before // self.every:
            means = self._windows.read(logs or {}, self.model)
            words = f"lr={learning_rate(self.model):.2e}, Train Loss = {means['loss']:.3e}"
            accuracy = f", Train Acc = {means['accuracy']:.4f}" if "accuracy" in means else ""
            self._write(iteration, words + accuracy, means)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Notes what was trained on, which validation forgets."""
        self._windows.begin_test(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the validation figures, where there are any."""
        logs = logs or {}
        self._windows.end_epoch(logs, self.model)
        found: dict[str, float] = {
            name: float(logs[name]) for name in ("val_loss", "val_accuracy") if name in logs
        }
        if "val_loss" in found:
            accuracy = f", Val Acc = {found['val_accuracy']:.4f}" if "val_accuracy" in found else ""
            figures = {"data": "validation", "epoch": epoch + 1} | found
            self._write(self._iteration(), f"Val Loss = {found['val_loss']:.3e}{accuracy}", figures)

    def get_state(self) -> dict[str, Any]:
        """Returns what the next line has gathered so far."""
        return self._windows.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self._windows.set_state(state)

    def _iteration(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _write(self, iteration: int, words: str, figures: dict[str, Any]) -> None:
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{iteration:08d}] {words}")
        self._records.write(
            {"iteration": iteration, "learning_rate": learning_rate(self.model), **figures}
        )


def _place(line: str) -> tuple[int, str]:
    found = re.search(r"\[(\d+)\] (Val)?", line)
    return (int(found[1]), found[2] or "") if found else (0, line)
