"""Figures of epochs for TensorBoard: training and validation as two runs of one chart."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from epochal.callbacks.parts.event_file import EventFile

_VALIDATION = "val_"  # begins the names of validation figures


class ScalarEvents:
    """Event files of the rows of a history, in `train/` and `validation/`, each epoch once.

    A scalar has the name of its column without `val_`, so that TensorBoard draws both runs in one
    chart; its step is the epoch, from 1.

    Args:
        folder: of TensorBoard's files
    """

    def __init__(self, folder: Path) -> None:
        self._folders = (folder / "train", folder / "validation")
        self._files = [EventFile(str(place)) for place in self._folders]

    def begin(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write these rows in place of all that stand there."""
        for folder, file in zip(self._folders, self._files, strict=True):
            file.close()
            for old in folder.glob("*tfevents*"):
                old.unlink()
        for row in rows:
            self.append(row)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write the row of an epoch."""
        training = {}
        validation = {}
        for name, value in row.items():
            if name == "epoch" or value is None:
                continue
            if name.startswith(_VALIDATION):
                validation[name.removeprefix(_VALIDATION)] = value
            else:
                training[name] = value
        for file, scalars in zip(
            self._files,
            (training, validation),
            strict=True,
        ):
            if scalars:
                file.write_scalars(row["epoch"], scalars)
