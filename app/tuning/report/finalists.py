"""The finalists side by side: learning curves of all trials, and the scores of the best split by
split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, GRID, VERMILLION, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.trials import COMPLETED, Trial
from epochal.app.tuning.report.axes import Heights, heights_of
from epochal.app.tuning.report.formatting import metric, score, with_spread
from epochal.app.tuning.report.standings import Curve, Standings
from epochal.app.units import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINALISTS = 5
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 1)))
_SPLIT_HEADS = (
    "trial",
    "mean ± spread",
    "splits",
    "minus the winner, paired",
    "splits better than it",
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The scores of a trial minus those of another, split by split."""

    mean: float
    error: float | None
    """Standard error of the mean; None of a single split."""
    splits: int


def finalists_of(standings: Standings, winner: Trial | None) -> list[Trial]:
    """Return the best completed trials by rank; the winner takes the last place where it is not
    among them.
    """
    scored = standings.scored
    completed = [trial for trial in scored if trial.status == COMPLETED]
    finalists = completed[:FINALISTS]
    if winner is None or winner not in scored or winner in finalists:
        return finalists
    return [*finalists[:-1], winner]


def paired_difference(trial: Trial, other: Trial) -> Difference | None:
    """Return the mean difference over the splits that both have; None where there is none."""
    differences = []
    for mine, others in zip(trial.scores, other.scores, strict=False):
        differences.append(mine - others)
    if not differences:
        return None
    count = len(differences)
    error = None
    if count > 1:
        error = stdev(differences) / math.sqrt(count)
    return Difference(
        mean=fmean(differences),
        error=error,
        splits=count,
    )


def curves_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Return the monitored figure over the epochs; None where no trial has recorded any."""
    curves: dict[str, Curve] = {}
    for trial in standings.trials:
        curve = standings.mean_curve(trial, standings.plan.monitor)
        if curve:
            curves[trial.name] = curve
    if not curves:
        return None
    figure_name = metric(standings)
    finalists = [trial for trial in finalists_of(standings, winner) if trial.name in curves]
    alternative = f"{figure_name} over the epochs of {number_of(len(curves), 'trial')}"
    if finalists:
        names = ", ".join(trial.name for trial in finalists)
        alternative += f"; the finalists are {names}"
    heights = heights_of(standings)
    draw = partial(
        _draw_curves,
        heights=heights,
        curves=curves,
        finalists=finalists,
        winner=winner,
    )
    figure = svg((9.6, 4.2), draw, alternative)
    text = (
        f"The {figure_name} of every trial, mean of its splits; bold ones are the finalists. "
        "Curves of finalists that still improve at their last epoch ask for more epochs."
    )
    return Section(
        title="Learning curves",
        text=text,
        figures=(figure,),
    )


def _draw_curves(
    axes: Axes,
    heights: Heights,
    curves: dict[str, Curve],
    finalists: list[Trial],
    winner: Trial | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    alpha = min(0.5, max(0.1, 12 / len(curves)))
    for curve in curves.values():
        _draw_curve(
            axes,
            heights,
            curve,
            marker=".",
            color=BLUE,
            alpha=alpha,
            linewidth=0.9,
        )
    for trial, dashes in zip(finalists, _DASHES, strict=False):
        label = f"trial {trial.name}"
        colour = BLUE
        width = 1.8
        if winner is not None and trial.name == winner.name:
            label += ", the winner"
            colour = VERMILLION
            width = 2.4
        looks = {"color": colour, "linestyle": dashes, "linewidth": width, "label": label}
        _draw_curve(
            axes,
            heights,
            curves[trial.name],
            marker="o",
            **looks,
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=10,
            min_n_ticks=1,
        )
    )
    heights.scale_axes(axes)
    if heights.sign < 0 and axes.get_yscale() == "linear":
        # Losses of a diverged tenth would squeeze everything else.
        values = np.concatenate([list(curve.values()) for curve in curves.values()])
        top = heights.scale * float(np.quantile(values, 0.9))
        axes.set_ylim(min(0.0, values.min()), 1.3 * top or 1)
    if finalists:
        axes.legend(fontsize=8.5)


def _draw_curve(axes: Axes, heights: Heights, curve: Curve, *, marker: str, **looks: Any) -> None:
    """Draw a curve; of a single epoch, which makes no line, the marker."""
    if len(curve) > 1:
        marker = ""
    scaled = heights.scale * np.array(list(curve.values()))
    axes.plot(
        list(curve),
        scaled,
        marker=marker,
        **looks,
    )


def splits_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Return the finalists' scores split by split, and what they differ from the winner's; None
    without a finalist.
    """
    finalists = [trial for trial in finalists_of(standings, winner) if trial.scores]
    if not finalists:
        return None
    shown = []
    rows = [_SPLIT_HEADS]
    for trial in finalists:
        shown.append(f"{trial.name} {score(trial, standings)}")
        rows.append(_split_row(trial, standings, winner))
    heights = heights_of(standings)
    draw = partial(
        _draw_splits,
        heights=heights,
        finalists=finalists,
        winner=winner,
    )
    size = (9.6, 0.9 + 0.45 * len(finalists))
    figure = svg(
        size,
        draw,
        f"Scores of the finalists by split: {'; '.join(shown)}",
    )
    return Section(
        title="The finalists, split by split",
        text=_describe_splits(finalists, winner),
        figures=(figure,),
        table=tuple(rows),
    )


def _describe_splits(finalists: Sequence[Trial], winner: Trial | None) -> str:
    if max(len(trial.scores) for trial in finalists) == 1:
        return (
            "Each point is one split, the bar their mean. With a single split nothing tells how "
            "much of a difference "
            "is chance: more splits would."
        )
    text = (
        "Each point is one split, the upright bar their mean; the spread is the sample standard "
        "deviation."
    )
    if winner is None:
        return text
    return (
        f"{text} The paired difference compares trials on the same images; its ± is a standard "
        "error. It is too small "
        "rather than too large, because the splits share training images (Nadeau and Bengio "
        "2003): a difference below "
        "two of them is no difference."
    )


def _split_row(
    trial: Trial, standings: Standings, winner: Trial | None
) -> tuple[str, str, str, str, str]:
    text = "–"
    wins = ""
    if winner is not None and trial.name == winner.name:
        text = "the winner"
    elif winner is not None:
        difference = paired_difference(trial, winner)
        if difference is not None:
            text = with_spread(
                difference.mean,
                difference.error,
                standings,
                signed=True,
            )
            better = _count_better(trial, winner, standings.sign)
            wins = f"{better} of {difference.splits}"
    return (trial.name, score(trial, standings), str(len(trial.scores)), text, wins)


def _count_better(trial: Trial, other: Trial, sign: int) -> int:
    better = 0
    for mine, others in zip(trial.scores, other.scores, strict=False):
        if sign * mine > sign * others:
            better += 1
    return better


def _draw_splits(
    axes: Axes, heights: Heights, finalists: Sequence[Trial], winner: Trial | None
) -> None:
    names = []
    for place, trial in enumerate(finalists):
        colour = BLUE
        if winner is not None and trial.name == winner.name:
            colour = VERMILLION
        names.append(f"trial {trial.name}")
        values = heights.scale * np.array(trial.scores)
        places = np.full(len(values), place)
        mean = values.mean()
        axes.axhline(
            place,
            color=GRID,
            linewidth=0.7,
            zorder=0,
        )
        axes.scatter(
            values,
            places,
            s=26,
            color=colour,
            alpha=0.65,
            linewidth=0,
        )
        axes.plot(
            [mean, mean],
            [place - 0.28, place + 0.28],
            color=colour,
            linewidth=2.4,
        )
    axes.set_yticks(range(len(finalists)), names)
    axes.set_ylim(len(finalists) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(heights.label)
