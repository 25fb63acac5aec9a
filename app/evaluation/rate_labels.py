"""Labels of learning rates by their training losses: too low, good, too high or diverged."""

import math
from collections.abc import Sequence

import numpy as np

LOW = "too low"
GOOD = "good"
HIGH = "too high"
DIVERGED = "diverged"
# Shares of the best fall of the loss: a good rate reaches at least the first. A network below the
# second guesses: it has lost what it began with, or learns nothing any more.
_GOOD_SHARE = 0.8
_GUESSING_SHARE = 0.02


def final_loss(losses: Sequence[float]) -> float:
    """Return the mean loss over the last quarter of a training; infinite when it is not finite."""
    if not losses:
        return math.inf
    quarter = max(1, len(losses) // 4)
    last_losses = losses[-quarter:]
    mean = float(np.mean(last_losses))
    if not math.isfinite(mean):
        return math.inf
    return mean


def label_rates(rates: Sequence[float], finals: Sequence[float], before: float) -> list[str]:
    """Call each rate too low, good, too high or diverged by how far below `before` its loss ended.

    A rate is good when its loss fell by at least 80 % of the best fall; else it is too low below
    the rate that fell furthest and too high above it. There it has diverged when its loss fell by
    less than 2 % of that, and anywhere when its `final_loss` is infinite. Where the finals have one
    minimum over the rates, rising rates are called in that order.

    Raises:
        ValueError: when no loss ended below `before`.
    """
    best, best_rate = min(zip(finals, rates, strict=True))
    if not best < before:
        raise ValueError(f"no loss ended below {before}")
    best_fall = before - best
    labels = []
    for rate, final in zip(rates, finals, strict=True):
        share = (before - final) / best_fall
        guesses = share < _GUESSING_SHARE and rate > best_rate
        if share >= _GOOD_SHARE:
            labels.append(GOOD)
        elif guesses or share == -math.inf:
            labels.append(DIVERGED)
        elif rate < best_rate:
            labels.append(LOW)
        else:
            labels.append(HIGH)
    return labels


def guessing_loss(loss: str, classes: int) -> float:
    """Return the loss of equal logits for all classes, with which an untrained network starts.

    `loss` is the name of an objective; the equal logits are 0 where their value matters.
    """
    losses = {
        "cross_entropy": math.log(classes),
        "hinge": classes - 1.0,
        "categorical_hinge": 1.0,
        "squared_error": 1 / classes,
    }
    return losses[loss]
