"""Monitored values, and the better of two: shared by the callbacks that watch a logged quantity."""

import math
from collections.abc import Mapping
from typing import Any

LOWER = ("loss", "error", "mse", "mae", "perplexity")
HIGHER = ("acc", "auc", "precision", "recall", "f1", "iou", "dice")


def direction(monitor: str, mode: str = "auto", *, remedy: str = "pass mode='min' or 'max'") -> int:
    """Return 1 if higher values of `monitor` are better, -1 if lower ones are.

    `mode` is "min", "max" or "auto" (from the name); ValueError if the name does not tell.
    """
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
    if mode != "auto":
        return 1 if mode == "max" else -1
    if any(word in monitor for word in LOWER):
        return -1
    if any(word in monitor for word in HIGHER):
        return 1
    raise ValueError(f"Cannot tell from the name {monitor!r} whether higher is better: {remedy}.")


def improves(value: float, best: float | None, *, sign: int, min_delta: float = 0.0) -> bool:
    """Return whether `value` is finite and better than `best` by more than `min_delta`."""
    if not math.isfinite(value):
        return False
    return best is None or sign * (value - best) > min_delta


class Monitored:
    """The logged quantity `monitor` that a callback watches, an epoch at a time.

    Errors name the callback `owner`.
    """

    def __init__(self, owner: str, monitor: str) -> None:
        self.owner = owner
        self.monitor = monitor
        self.begin()

    def begin(self) -> None:
        """Forget earlier fits."""
        self._is_seen = False
        self._logged = list[str]()  # by the latest epoch without the quantity

    def value(self, logs: Mapping[str, Any]) -> float | None:
        """Return the value of the epoch that logged this.

        None if it is one of validation, and none was made.

        Raises:
            ValueError: it is not logged, although it would have been by now.
        """
        if self.monitor in logs:
            self._is_seen = True
            return float(logs[self.monitor])
        self._logged = sorted(logs)
        is_validated = any(name.startswith("val_") for name in logs)
        if is_validated or not self.monitor.startswith("val_"):
            raise ValueError(self._missing("choose"))
        return None

    def end(self) -> None:
        """Raise ValueError if there were epochs, but none with validation."""
        if self._logged and not self._is_seen:
            raise ValueError(self._missing("give fit validation_data that is used, or choose"))

    def _missing(self, remedy: str) -> str:
        return (
            f"{self.owner} watches {self.monitor!r}, which is not logged: "
            f"{remedy} one of {self._logged}."
        )
