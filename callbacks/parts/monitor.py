"""Which of two logged values is better: shared by the callbacks that keep the best."""

import math

LOWER = ("loss", "error", "mse", "mae", "perplexity")
HIGHER = ("acc", "auc", "precision", "recall", "f1", "iou", "dice")


def direction(monitor: str, mode: str = "auto") -> int:
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
    raise ValueError(f"Cannot tell from the name {monitor!r} whether higher is better: pass mode='min' or 'max'.")


def improves(value: float, best: float | None, *, sign: int, min_delta: float = 0.0) -> bool:
    """Returns whether `value` is better than `best` by more than `min_delta`; NaN and infinity never are."""
    return math.isfinite(value) and (best is None or sign * (value - best) > min_delta)
