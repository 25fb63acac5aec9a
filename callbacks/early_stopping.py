"""Early stopping: training ends when nothing gets better, with the best epoch's weights."""

import math
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.cleanup import call_on_failure
from epochal.callbacks.parts.evaluated_weights import finite_weights
from epochal.callbacks.parts.monitor import Monitored, direction, improves
from epochal.callbacks.parts.phase import Phase


class EarlyStopping(keras.callbacks.Callback):
    """Restores the best epoch's weights when training ends, and ends it when nothing gets better.

    Training may end in the last epoch, by patience, by another callback's `stop_training` or by
    `NanGuard`'s error; after any other exception, such as Ctrl-C, call `restore_best()`. Unlike
    with Keras' own callback, an epoch whose monitored value, loss or weights are not finite never
    counts as the best. Epochs without validation do not count where the value is one of validation.

    Args:
        monitor: the logged quantity to watch.
        patience: epochs without improvement before training stops; None keeps the best but never
            stops.
        min_delta: what an improvement has to exceed; -inf takes every epoch for one, so that the
            last one is kept.
        mode: "min", "max" or "auto" (from the name).

    Attributes: `best`, `best_epoch` and `stopped_epoch` (epochs from 0), None while there is none.

    Raises:
        ValueError: arguments out of range, or `monitor` is not logged by an epoch (by none, if it
            is of validation).
    """

    phase = Phase.KEEP
    key = "early_stopping"

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int | None = None,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        if patience is not None and patience < 0:
            raise ValueError(f"patience must be None or at least 0 epochs, got {patience}.")
        if not (0 <= min_delta < math.inf or min_delta == -math.inf):
            raise ValueError(f"min_delta must be at least 0, or -inf, got {min_delta}.")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self._sign = direction(monitor, mode)
        self._monitored = Monitored("EarlyStopping", monitor)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.best_weights: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._reset()
        self._monitored.begin()
        call_on_failure(self, self.restore_best)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Compare the epoch with the best so far."""
        logs = logs or {}
        value = self._monitored.value(logs)
        if value is None:
            return
        if improves(
            value,
            self.best,
            sign=self._sign,
            min_delta=self.min_delta,
        ):
            weights = finite_weights(self, logs)
            if weights is not None:
                self.best = value
                self.best_epoch = epoch
                self.best_weights = weights
                self.wait = 0
                return
        self.wait += 1
        if self.patience is not None and self.wait >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the best epoch's weights."""
        if not self.restore_best():
            self._monitored.end()

    @property
    def reason(self) -> str | None:
        """Why it ended training, in one line; None where it did not."""
        if self.stopped_epoch is None:
            return None
        best = "never finite"
        if self.best is not None and self.best_epoch is not None:
            best = f"best {self.best:.6g} in epoch {self.best_epoch + 1}"
        return f"{self.monitor} did not improve for {self.patience} epoch(s) ({best})"

    def restore_best(self) -> bool:
        """Put the best epoch's weights into the model; return whether there were any."""
        if self.best_weights is None:
            return False
        self.model.set_weights(self.best_weights)
        return True

    def get_state(self) -> dict[str, Any]:
        """Return the counters and the best weights, in the order of `model.get_weights()`."""
        return {
            "wait": self.wait,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "best_weights": self.best_weights,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned."""
        self.wait = state["wait"]
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.stopped_epoch = state["stopped_epoch"]
        self.best_weights = state["best_weights"]
