"""The history of a run: a row of figures an epoch, in history.csv and for TensorBoard."""

import csv
import io
import time
from pathlib import Path
from typing import Any

import keras

from epochal.app.store import files as storage
from epochal.app.training.run.scalar_events import ScalarEvents
from epochal.callbacks.parts.phase import Phase

Row = dict[str, Any]


class History(keras.callbacks.Callback):
    """Writes history.csv anew after every epoch, so that each epoch stands there exactly once.

    Columns: `epoch` (from 1), what was logged, `seconds` of the whole epoch and `images_per_second`
    of its training steps without the first, which traces the graph. These two are wall-clock
    figures; a resumed epoch counts only its own. What was not logged from the first epoch on, such
    as the energy of weights that thaw, stands behind them, empty before.

    Args:
        path: of history.csv
        images_per_step: on average, for the speed
        events: gets the same rows for TensorBoard
    """

    phase = Phase.SAVE
    key = "history"

    def __init__(
        self, path: Path, *, images_per_step: float, events: ScalarEvents | None = None
    ) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._path = path
        self._images_per_step = images_per_step
        self._events = events
        self._epoch_began = 0.0
        self._first_step_ended = 0.0
        self._last_step_ended = 0.0
        self._steps = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget earlier fits."""
        self.rows = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._epoch_began = time.monotonic()
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note when the first and the last step ended."""
        self._last_step_ended = time.monotonic()
        if self._steps == 0:
            self._first_step_ended = self._last_step_ended
        self._steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add the epoch's row."""
        row: Row = {"epoch": epoch + 1}
        for name, value in (logs or {}).items():
            row[name] = float(value)
        row["seconds"] = round(time.monotonic() - self._epoch_began, 3)
        row["images_per_second"] = self._images_per_second()
        if self._events is not None and not self.rows:
            self._events.begin([])
        self.rows = [*self.rows, row]
        self._write()
        if self._events is not None:
            self._events.append(row)

    def get_state(self) -> dict[str, Any]:
        """Return the rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from stored rows; later epochs vanish from history.csv and TensorBoard."""
        self.rows = list(state["rows"])
        self._write()
        if self._events is not None:
            self._events.begin(self.rows)

    def _images_per_second(self) -> float | None:
        seconds = self._last_step_ended - self._first_step_ended
        if seconds <= 0:
            return None
        return round((self._steps - 1) * self._images_per_step / seconds, 1)

    def _write(self) -> None:
        columns = ["epoch"]
        for row in self.rows:
            for name in row:
                if name not in columns:
                    columns.append(name)
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        data = text.getvalue().encode()
        storage.write_bytes(self._path, data)
