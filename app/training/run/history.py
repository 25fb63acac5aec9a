"""One row an epoch: in memory, in history.csv, in the checkpoint, and for TensorBoard."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import keras

from epochal.app.store import files as storage


class History(keras.callbacks.Callback):
    """Writes history.csv anew after every epoch, so that each epoch stands there exactly once, whatever happened.

    Columns: epoch (from 1), what was logged, `seconds` of the whole epoch and `images_per_second` of its training
    steps without the first, which traces the graph. These two are wall-clock figures; a resumed epoch counts
    only its own. What was not logged from the first epoch on, such as the energy of weights that thaw, stands behind
    them, empty before.
    """

    def __init__(self, path: Path, *, images_per_step: int) -> None:
        super().__init__()
        self._path = path
        self._images = images_per_step
        self.rows: list[dict[str, Any]] = []
        self._began = self._first = self._last = 0.0
        self._steps = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Forgets earlier fits."""
        self.rows = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.monotonic()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Notes when the first and the last step ended."""
        self._last = time.monotonic()
        self._first = self._first if self._steps else self._last
        self._steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds the epoch's row."""
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            **{key: float(value) for key, value in (logs or {}).items()},
        }
        row["seconds"] = round(time.monotonic() - self._began, 3)
        spent = self._last - self._first
        row["images_per_second"] = (
            round((self._steps - 1) * self._images / spent, 1) if spent > 0 else None
        )
        self.rows = [*self.rows, row]
        self.write()

    def write(self) -> None:
        """Puts all rows into history.csv."""
        text = io.StringIO()
        columns = dict.fromkeys(["epoch", *(key for row in self.rows for key in row)])
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        storage.write_bytes(self._path, text.getvalue().encode())

    def get_state(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from stored rows; epochs that ran after the checkpoint vanish from history.csv."""
        self.rows = list(state["rows"])
        self.write()
