"""Which of two logged values is better: shared by the callbacks that keep the best."""

import math
from collections.abc import Mapping
from typing import Any

LOWER = ("loss", "error", "mse", "mae", "perplexity")
HIGHER = ("acc", "auc", "precision", "recall", "f1", "iou", "dice")


def direction(monitor: str, mode: str = "auto", *, remedy: str = "pass mode='min' or 'max'") -> int:
    """Returns 1 if higher values of `monitor` are better, -1 if lower ones are.

    `mode` is "min", "max" or "auto" (from the name); ValueError if the name does not tell.
    """
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"mode must be 'auto', 'min' or 'max', got {mode!r}.")
    if mode != "auto":
        return 1 if mode == "max" else -1
    for words, sign in ((LOWER, -1), (HIGHER, 1)):
        if any(word in monitor for word in words):
            return sign
    raise ValueError(f"Cannot tell from the name {monitor!r} whether higher is better: {remedy}.")


def improves(value: float, best: float | None, *, sign: int, min_delta: float = 0.0) -> bool:
    """Returns whether `value` is better than `best` by more than `min_delta`; NaN and infinity never are."""
    return math.isfinite(value) and (best is None or sign * (value - best) > min_delta)


class Monitored:
    """The quantity `name` that the callback `who` watches, an epoch at a time."""

    def __init__(self, who: str, name: str) -> None:
        self.who = who
        self.name = name
        self.begin()

    def begin(self) -> None:
        """Forgets earlier fits."""
        self._seen = False
        self._others = list[str]()

    def value(self, logs: Mapping[str, Any]) -> float | None:
        """Returns the value of the epoch that logged this; None if it is one of validation, and none was made.

        Raises:
            ValueError: it is not logged, although it would have been by now.
        """
        if self.name in logs:
            self._seen = True
            return float(logs[self.name])
        self._others = sorted(logs)
        if not self.name.startswith("val_") or any(name.startswith("val_") for name in logs):
            raise ValueError(self._missing("choose"))
        return None

    def end(self) -> None:
        """Raises ValueError if there were epochs, but none with validation."""
        if self._others and not self._seen:
            raise ValueError(self._missing("give fit validation_data that is used, or choose"))

    def _missing(self, remedy: str) -> str:
        return f"{self.who} watches {self.name!r}, which is not logged: {remedy} one of {self._others}."
