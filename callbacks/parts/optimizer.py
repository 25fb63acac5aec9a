"""Learning rate and step count of a model's optimizer, whatever it keeps them in."""

from collections.abc import Callable
from typing import Any


def iteration_of(model: Any) -> int:
    """Return how many updates the optimizer of `model` has made."""
    return int(model.optimizer.iterations.numpy())


def learning_rate(model: Any) -> float:
    """Return the current rate of `model`'s optimizer, be it a number, schedule or variable."""
    rate = model.optimizer.learning_rate
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)


def schedule_step(model: Any, position: Callable[[], int] | None) -> int:
    """Return the step of a schedule: `position()`, or the optimizer's count without one."""
    if position is not None:
        return position()
    return iteration_of(model)


def lowered(rate: float, factor: float, least: float) -> float:
    """Return `rate * factor`, but not below `least`; a rate that is below already stays."""
    return min(rate, max(least, rate * factor))


def set_learning_rate(model: Any, rate: float, name: str) -> None:
    """Give `model`'s optimizer another rate.

    Raises:
        ValueError: naming the callback, when the optimizer follows a schedule of its own.
    """
    try:
        model.optimizer.learning_rate = rate
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{name} sets the learning rate, but {model.optimizer.name!r} has its own schedule: "
            f"give it a number as learning_rate, or leave {name} out."
        ) from error
