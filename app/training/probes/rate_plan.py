"""Rate plans: the learning rate that a configuration lays out, before anything is trained."""

import math
from dataclasses import dataclass

from epochal.app.config import Config
from epochal.app.data.load import load
from epochal.app.training.optimizers import chosen_optimizer
from epochal.app.training.step.learning_rate import shape_of
from epochal.callbacks.schedules import Shape

_ROWS = 40  # of the table, at most
_POINTS = 2000  # of the curve, at most: two for each pixel
# An epoch has so many steps, as far as it matters, where nothing is counted in steps.
_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class RatePlan:
    """The learning rate of a configuration at each step; made by `plan_rates`.

    Args:
        peak: the rate that the shape is relative to.
        shape: the relative rate as a function of the step, counted from 0.
        epochs: of the run.
        steps: in an epoch.
    """

    peak: float
    shape: Shape
    epochs: int
    steps: int

    def rate(self, step: int) -> float:
        """Return the learning rate at a step, counted from 0."""
        return self.peak * self.shape(step)

    def rows(self) -> list[tuple[int, float, float]]:
        """Return (epoch from 1, rate at its first step, rate at its last), of about 40 epochs."""
        rows = []
        for epoch in _spread(self.epochs, _ROWS):
            first_step = epoch * self.steps
            last_step = first_step + self.steps - 1
            rows.append((epoch + 1, self.rate(first_step), self.rate(last_step)))
        return rows

    def curve(self) -> list[tuple[float, float]]:
        """Return (epochs since the start, rate) at about 2,000 steps, the last one among them."""
        points = []
        for step in _spread(self.epochs * self.steps, _POINTS):
            points.append((step / self.steps, self.rate(step)))
        return points


def plan_rates(config: Config) -> RatePlan:
    """Lay out the learning rate of a configuration; images are counted only where steps count.

    Raises:
        UsageError: for an optimizer's options that it does not have, or a schedule that the
            training is too short for.
    """
    chosen_optimizer(config)
    steps = _STEPS
    if config.schedule.unit == "steps" or config.schedule.window is not None:
        num_images = len(load(config).train)
        steps = math.ceil(num_images / config.global_batch)
    return RatePlan(
        peak=config.peak_rate, shape=shape_of(config, steps), epochs=config.epochs, steps=steps
    )


def _spread(count: int, most: int) -> list[int]:
    """Return about `most` numbers from 0 to below `count` at equal distances, and the last one."""
    distance = math.ceil(count / most)
    return sorted({*range(0, count, distance), count - 1})
