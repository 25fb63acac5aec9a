"""Rate labels: too low, good, too high or diverged, from the training losses at several learning rates."""

import math
from collections.abc import Sequence

import numpy as np

LOW = "too low"
GOOD = "good"
HIGH = "too high"
DIVERGED = "diverged"
_ENOUGH = 0.8  # of the best fall of the loss, for a rate to be called good
_NOTHING = 0.02  # of the best fall: a network that guesses has lost what it began with, or learns nothing any more


def final(losses: Sequence[float]) -> float:
    """The mean loss over the last quarter of a training; infinite when it went astray."""
    tail = losses[-max(1, len(losses) // 4) :]
    mean = float(np.mean(tail)) if tail else math.inf
    return mean if math.isfinite(mean) else math.inf


def labels_of(rates: Sequence[float], finals: Sequence[float], before: float) -> list[str]:
    """Calls each rate too low, good, too high or diverged by how far below `before` its loss ended.

    A rate is good when its loss fell by at least 80 % of the best fall; else it is too low below the rate that fell
    furthest and too high above it. There it has diverged when its loss fell by less than 2 % of that, and anywhere when
    its `final` is infinite. Where the finals have one minimum over the rates, rising rates are called in that order.

    Raises:
        ValueError: when no loss ended below `before`.
    """
    best, best_rate = min(zip(finals, rates, strict=True))
    if not best < before:
        raise ValueError(f"no loss ended below {before}")

    def label(rate: float, ended: float) -> str:
        share = (before - ended) / (before - best)
        if share >= _ENOUGH:
            return GOOD
        if share == -math.inf or (share < _NOTHING and rate > best_rate):
            return DIVERGED
        return LOW if rate < best_rate else HIGH

    return [label(*pair) for pair in zip(rates, finals, strict=True)]


def guess(loss: str, classes: int) -> float:
    """The loss of equal scores for all classes, from which a network that has learned nothing starts.

    `loss` is objective.loss; equal scores are 0 where it matters.
    """
    return {
        "cross_entropy": math.log(classes),
        "hinge": classes - 1.0,
        "categorical_hinge": 1.0,
        "squared_error": 1 / classes,
    }[loss]
