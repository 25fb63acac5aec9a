"""Weights of the best epochs, as files."""

import os
from typing import Any

import keras

from epochal.callbacks.parts.evaluated_weights import finite_weights
from epochal.callbacks.parts.monitor import Monitored, direction, improves
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.snapshots import Snapshots


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the `top` best epochs as `epoch-0007.npz`, and so on.

    Files that fall out are deleted. A file holds arrays by place and path of the weight,
    `0000/conv/kernel`; `best_weights.json` lists the files, best first. Each is written whole or
    not at all. In a tie the earlier epoch is better; an epoch whose value, loss or weights are not
    finite is never kept, nor one without validation where the value is one of that. With an
    `ExponentialMovingAverage` in the same fit the averages are kept, which were evaluated. Keras'
    ModelCheckpoint takes NaN for the best, forgets its best when resumed, and writes in place.

    Only files that the list names are ever replaced or deleted. A folder belongs to one training:
    where another one begins in it, its files take the place of the listed ones.

    Args:
        folder: where the files go; made when the first is written.
        monitor: the logged quantity to watch.
        top: how many epochs to keep.
        mode: "min", "max" or "auto" (from the name).

    Raises:
        ValueError: arguments out of range, or `monitor` is not logged by an epoch (by none, if it
            is of validation).
        FileExistsError: a file of somebody else's has the name of one that is to be written.
    """

    phase = Phase.KEEP
    key = "best_weights"

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        top: int = 3,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        if top < 1:
            raise ValueError(f"top must be at least 1 epoch, got {top}.")
        self.monitor = monitor
        self.top = top
        self._snapshots = Snapshots(folder)
        self._sign = direction(monitor, mode)
        self._monitored = Monitored("BestWeights", monitor)
        self.kept: list[dict[str, Any]] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self.kept = []
        self._monitored.begin()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the epoch if it is among the best so far."""
        logs = logs or {}
        value = self._monitored.value(logs)
        if value is None:
            return
        worst = self.kept[-1]["value"] if len(self.kept) == self.top else None
        if not improves(value, worst, sign=self._sign):
            return
        weights = finite_weights(self, logs)
        if weights is None:
            return
        entry = _entry(epoch + 1, value)
        ranked = sorted([*self.kept, entry], key=self._rank)
        self.kept = ranked[: self.top]
        self._snapshots.write(
            self.model,
            weights,
            entry["file"],
            self.kept,
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Refuse a training that never had what it was to watch."""
        if not self.kept:
            self._monitored.end()

    def get_state(self) -> dict[str, Any]:
        """Return the values of the epochs that are kept, best first."""
        kept = {}
        for entry in self.kept:
            kept[str(entry["epoch"])] = entry["value"]
        return {"kept": kept}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned, except epochs whose file is gone.

        What pushed it out comes again.
        """
        self.kept = []
        for epoch, value in state["kept"].items():
            entry = _entry(int(epoch), float(value))
            if self._snapshots.has(entry):
                self.kept.append(entry)

    @staticmethod
    def load(folder: str | os.PathLike[str], model: Any, *, rank: int = 1) -> dict[str, Any]:
        """Give `model` the weights of the epoch of this rank, 1 for the best; return its entry.

        Raises:
            ValueError: no such rank, or the weights are of another model; nothing is assigned then.
        """
        return Snapshots(folder).load(model, rank)

    def _rank(self, entry: dict[str, Any]) -> tuple[float, int]:
        return -self._sign * entry["value"], entry["epoch"]


def _entry(epoch: int, value: float) -> dict[str, Any]:
    return {"file": f"epoch-{epoch:04d}.npz", "epoch": epoch, "value": value}
