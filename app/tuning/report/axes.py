"""What the figures of a sweep share: scores as heights, hyperparameters as places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.plots import LOG_SPAN
from epochal.app.tuning.report.formatting import metric, plain, short
from epochal.app.store.plan import Range
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR = 6  # trials further below the middle one than so many times its distance to the best are drawn at the edge


@dataclass(frozen=True, kw_only=True)
class Heights:
    """Where scores stand upwards: in percent for accuracies, and no lower than keeps the best apart."""

    label: str
    scale: float
    sign: int
    edge: float | None
    """What is worse is drawn here, None where nothing is."""
    logarithmic: bool

    def of(self, scores: Sequence[float]) -> np.ndarray:
        """The heights of scores."""
        heights = self.scale * np.asarray(scores, np.float64)
        if self.edge is None:
            return heights
        return np.maximum(heights, self.edge) if self.sign > 0 else np.minimum(heights, self.edge)

    def scale_axes(self, axes: Axes) -> None:
        """Labels the axis after drawing: logarithmic where losses span far, and no accuracy above 100 %."""
        from matplotlib.ticker import NullFormatter

        axes.set_ylabel(self.label)
        axes.grid(axis="y")
        if self.sign > 0:
            axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
        if self.logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def heights_of(standings: Standings) -> Heights:
    """For the scores of all trials that have one."""
    scale = 100.0 if standings.sign > 0 else 1.0
    scores = scale * np.array([trial.score for trial in standings.scored], np.float64)
    far = (
        standings.sign < 0
        and scores.size > 0
        and scores.min() > 0
        and scores.max() > LOG_SPAN * scores.min()
    )
    edge = None
    if len(scores) > 3 and not far:
        best = (standings.sign * scores).max()
        middle = float(np.median(standings.sign * scores))
        cut = middle - FAR * max(best - middle, 1e-3 * abs(middle))
        edge = standings.sign * cut if (standings.sign * scores).min() < cut else None
    unit = " (%)" if standings.sign > 0 else " (nats)"
    return Heights(
        label=metric(standings) + unit, scale=scale, sign=standings.sign, edge=edge, logarithmic=bool(far)
    )


def choices_of(parameter: Range) -> list[str]:
    """The values of a choice as an axis shows them."""
    return [text if len(text) <= 18 else text[:17] + "…" for text in map(plain, parameter.values)]


def place_of(parameter: Range, trial: Trial) -> float | None:
    """The value as a number: a choice by its place; None where it is inactive or no value of the space."""
    value = trial.active_values.get(parameter.name)
    if parameter.kind == "choice":
        place = parameter.index_of(value)
        return None if place is None else float(place)
    if (
        not isinstance(value, int | float)
        or not math.isfinite(value)
        or (parameter.kind == "log" and value <= 0)
    ):
        return None
    return float(value)


def share_of(parameter: Range, place: float) -> float:
    """How far a place lies between the ends of the range, 0 to 1."""
    low, high = ends_of(parameter)
    if parameter.kind == "log" and low > 0:
        low = math.log(low)
        high = math.log(high)
        place = math.log(place)
    return 0.5 if high == low else (place - low) / (high - low)


def ends_of(parameter: Range) -> tuple[float, float]:
    """The range as numbers."""
    if parameter.kind == "choice":
        return 0.0, float(len(parameter.values) - 1)
    return float(parameter.low or 0.0), float(parameter.high or 0.0)


def marks_of(parameter: Range) -> list[tuple[float, str]]:
    """What stands beside an axis of the parallel coordinates: its share of the height, and the text."""
    if parameter.kind == "choice":
        return [
            (share_of(parameter, place), text) for place, text in enumerate(choices_of(parameter))
        ]
    low, high = ends_of(parameter)
    if low == high:
        return [(0.5, _tick(parameter, low))]
    return [(0.0, _tick(parameter, low)), (1.0, _tick(parameter, high))]


def _tick(parameter: Range, value: Any) -> str:
    return f"{value:g}" if parameter.kind == "int" else short(float(value))
