"""A line every few iterations, for people and for programs."""

import re
import time
from pathlib import Path
from typing import Any

import keras

from epochal.callbacks.parts.every import passes_multiple, require_at_least_one
from epochal.callbacks.parts.lines import Lines
from epochal.callbacks.parts.optimizer import iteration_of, learning_rate
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.records import Records
from epochal.callbacks.parts.window_means import WindowMeans


class TrainingLog(keras.callbacks.Callback):
    """Writes mean loss and accuracy of iterations to `iterations.log` and `iterations.jsonl`.

    The iteration is the optimizer's own count. Lines that are there already stay, except those past
    that count when training begins: they are of a training that was stopped, and come again. The
    JSON lines hold no times, so that a resumed training writes the same ones.

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
        require_at_least_one("every", every, "iteration")
        self.folder = Path(folder)
        self.every = every
        self._text = Lines(self.folder / "iterations.log", _place)
        self._records = Records(self.folder / "iterations.jsonl")
        self._means = WindowMeans(("loss", "accuracy"))
        self._iteration = 0  # after the latest step

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drop the lines that come again."""
        self._means.reset()
        self._iteration = iteration_of(self.model)
        self._text.begin(self._iteration)
        self._records.begin(self._iteration)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write a line when it is time."""
        self._means.count_step(batch, self.params, self.model)
        before = self._iteration
        self._iteration = iteration_of(self.model)
        if passes_multiple(before, self._iteration, self.every):
            means = self._means.read(logs or {}, self.model)
            rate = learning_rate(self.model)
            text = f"lr={rate:.2e}, Train Loss = {means['loss']:.3e}"
            accuracy = means.get("accuracy")
            if accuracy is not None:
                text += f", Train Acc = {accuracy:.4f}"
            self._write(text, means)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Note what was trained on, which validation forgets."""
        self._means.keep_samples(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the validation figures, where there are any."""
        logs = logs or {}
        self._means.end_epoch(logs, self.model)
        if "val_loss" not in logs:
            return
        figures: dict[str, Any] = {"data": "validation", "epoch": epoch + 1}
        figures["val_loss"] = float(logs["val_loss"])
        text = f"Val Loss = {figures['val_loss']:.3e}"
        if "val_accuracy" in logs:
            figures["val_accuracy"] = float(logs["val_accuracy"])
            text += f", Val Acc = {figures['val_accuracy']:.4f}"
        self._write(text, figures)

    def get_state(self) -> dict[str, Any]:
        """Return what the next line has gathered so far."""
        return self._means.get_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._means.set_state(state)

    def _write(self, text: str, figures: dict[str, Any]) -> None:
        iteration = iteration_of(self.model)
        self._text.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{iteration:08d}] {text}")
        rate = learning_rate(self.model)
        self._records.write({"iteration": iteration, "learning_rate": rate, **figures})


def _place(line: str) -> tuple[int, str]:
    """Return the iteration of a line, and "Val" for one of validation."""
    match = re.search(r"\[(\d+)\] (Val)?", line)
    if match is None:
        return 0, line
    return int(match[1]), match[2] or ""
