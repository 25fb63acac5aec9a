"""Axes of a sweep's figures: scores as heights, hyperparameters as places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from epochal.app.evaluation.plots import LOG_SPAN
from epochal.app.store.plan import Range
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.formatting import metric, plain, short
from epochal.app.tuning.report.standings import Standings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Trials further below the middle one than so many times its distance to the best are drawn at the
# edge.
FAR = 6
_LONGEST = 18  # letters of a choice on an axis


@dataclass(frozen=True, kw_only=True)
class Heights:
    """The places of scores upwards: in percent for accuracies, and no lower than keeps the best
    apart.
    """

    label: str
    scale: float
    sign: int
    edge: float | None
    """What is worse is drawn here, None where nothing is."""
    logarithmic: bool

    def of(self, scores: Sequence[float]) -> np.ndarray:
        """Return the heights of scores."""
        heights = self.scale * np.asarray(scores, np.float64)
        if self.edge is None:
            return heights
        if self.sign > 0:
            return np.maximum(heights, self.edge)
        return np.minimum(heights, self.edge)

    def scale_axes(self, axes: Axes) -> None:
        """Label the axis after drawing: logarithmic where losses span far, and no accuracy above
        100 %.
        """
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
    """Return the heights for the scores of all trials that have one."""
    sign = standings.sign
    scores = np.array([trial.score for trial in standings.scored], np.float64)
    if sign > 0:
        scale = 100.0
        unit = " (%)"
        is_logarithmic = False
    else:
        scale = 1.0
        unit = " (nats)"
        is_logarithmic = _span_far(scores)
    edge = None
    if len(scores) > 3 and not is_logarithmic:
        edge = _edge_of(scale * scores, sign)
    return Heights(
        label=metric(standings) + unit,
        scale=scale,
        sign=sign,
        edge=edge,
        logarithmic=is_logarithmic,
    )


def _span_far(losses: np.ndarray) -> bool:
    if not losses.size or losses.min() <= 0:
        return False
    return bool(losses.max() > LOG_SPAN * losses.min())


def _edge_of(scores: np.ndarray, sign: int) -> float | None:
    """Return the score from which on worse ones are drawn at the edge; None where there is none
    that far.
    """
    goodness = sign * scores
    middle = float(np.median(goodness))
    distance = max(goodness.max() - middle, 1e-3 * abs(middle))
    limit = middle - FAR * distance
    if goodness.min() >= limit:
        return None
    return float(sign * limit)


def choice_names(searched: Range) -> list[str]:
    """Return the values of a choice as an axis shows them."""
    names = []
    for value in searched.values:
        name = plain(value)
        if len(name) > _LONGEST:
            name = name[: _LONGEST - 1] + "…"
        names.append(name)
    return names


def place_of(searched: Range, trial: Trial) -> float | None:
    """Return the value as a number: a choice by its index; None where it is inactive or no value of
    the space.
    """
    if searched.name not in trial.values or not searched.is_active(trial.values):
        return None
    value = trial.values[searched.name]
    if searched.kind == "choice":
        value = searched.index_of(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if searched.kind == "log" and value <= 0:
        return None
    return float(value)


def share_of(searched: Range, place: float) -> float:
    """Return how far a place lies between the ends of the range, 0 to 1."""
    low, high = ends_of(searched)
    if high == low:
        return 0.5
    if searched.kind == "log" and low > 0:
        low = math.log(low)
        high = math.log(high)
        place = math.log(place)
    return (place - low) / (high - low)


def ends_of(searched: Range) -> tuple[float, float]:
    """Return the ends of the range as numbers."""
    if searched.kind == "choice":
        return 0.0, float(len(searched.values) - 1)
    return float(searched.low or 0.0), float(searched.high or 0.0)


def axis_marks(searched: Range) -> list[tuple[float, str]]:
    """Return the marks of an axis of the parallel coordinates: the share of the height, and the
    text.
    """
    marks = []
    if searched.kind == "choice":
        for index, name in enumerate(choice_names(searched)):
            share = share_of(searched, index)
            marks.append((share, name))
        return marks
    low, high = ends_of(searched)
    for end in sorted({low, high}):
        share = share_of(searched, end)
        marks.append((share, _mark(searched, end)))
    return marks


def _mark(searched: Range, value: float) -> str:
    if searched.kind == "int":
        return f"{value:g}"
    return short(value)
