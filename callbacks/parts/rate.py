"""The learning rate, whatever the optimizer keeps it in."""

from collections.abc import Callable
from typing import Any


def learning_rate(model: Any) -> float:
    """Returns the rate of `model`'s optimizer now: a number's, a schedule's or a mirrored variable's."""
    rate = model.optimizer.learning_rate
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)


def course_step(model: Any, position: Callable[[], int] | None) -> int:
    """Returns the step at which the course of the rate stands: what `position` tells, or else the optimizer's count."""
    return position() if position else int(model.optimizer.iterations.numpy())


def lowered(rate: float, factor: float, least: float) -> float:
    """The rate times a factor below 1, but not below `least`; one that is below already, by other hands, stays."""
    return min(rate, max(least, rate * factor))


def set_learning_rate(model: Any, rate: float, who: str) -> None:
    """Gives `model`'s optimizer another rate.

    Raises:
        ValueError: naming `who`, the callback, when the optimizer follows a schedule of its own.
    """
    try:
        model.optimizer.learning_rate = rate
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{who} sets the learning rate, but {model.optimizer.name!r} has its own schedule: "
            f"give it a number as learning_rate, or leave {who} out."
        ) from error
