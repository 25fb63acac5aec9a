"""The learning rate, whatever the optimizer keeps it in."""

from typing import Any


def learning_rate(model: Any) -> float:
    """Returns the rate of `model`'s optimizer now: a number's, a schedule's or a mirrored variable's."""
    rate = model.optimizer.learning_rate
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)
