"""The finalists side by side: learning curves of all trials, and the scores of the best split by split."""

from __future__ import annotations

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
    """Return the best completed trials by rank; the winner takes the last place where it is not among them."""
    completed = [trial for trial in standings.scored if trial.status == COMPLETED]
    finalists = completed[:FINALISTS]
    if winner is not None and winner in standings.scored and winner not in finalists:
        finalists = [*finalists[:-1], winner]
    return finalists


def paired_difference(trial: Trial, other: Trial) -> Difference | None:
    """Return the mean difference over the splits that both have; None where there is none."""
    differences = []
    for mine, others in zip(trial.scores, other.scores, strict=False):
        differences.append(mine - others)
    if not differences:
        return None
    count = len(differences)
    error = stdev(differences) / count**0.5 if count > 1 else None
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
    finalists = [trial for trial in finalists_of(standings, winner) if trial.name in curves]
    alternative = f"{metric(standings)} over the epochs of {number_of(len(curves), 'trial')}"
    if finalists:
        names = ", ".join(trial.name for trial in finalists)
        alternative += f"; the finalists are {names}"
    draw = partial(
        _draw_curves,
        heights=heights_of(standings),
        curves=curves,
        finalists=finalists,
        winner=winner,
    )
    text = (
        f"The {metric(standings)} of every trial, mean of its splits; bold ones are the finalists. Curves of finalists "
        "that still improve at their last epoch ask for more epochs."
    )
    return Section(
        title="Learning curves", text=text, figures=(svg((9.6, 4.2), draw, alternative),)
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
    values: list[float] = []
    for curve in curves.values():
        values += curve.values()
        marker = "." if len(curve) == 1 else ""
        scaled = heights.scale * np.array(list(curve.values()))
        axes.plot(
            list(curve),
            scaled,
            color=BLUE,
            alpha=alpha,
            linewidth=0.9,
            marker=marker,
        )
    for trial, dashes in zip(finalists, _DASHES, strict=False):
        curve = curves[trial.name]
        has_won = winner is not None and trial.name == winner.name
        axes.plot(
            list(curve),
            heights.scale * np.array(list(curve.values())),
            color=VERMILLION if has_won else BLUE,
            linestyle=dashes,
            linewidth=2.4 if has_won else 1.8,
            marker="o" if len(curve) == 1 else "",
            label=f"trial {trial.name}, the winner" if has_won else f"trial {trial.name}",
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
        top = float(np.quantile(values, 0.9))
        axes.set_ylim(min(0.0, min(values)), 1.3 * heights.scale * top or 1)
    if finalists:
        axes.legend(fontsize=8.5)


def splits_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Return the finalists' scores split by split, and what they differ from the winner's; None without a finalist."""
    finalists = [trial for trial in finalists_of(standings, winner) if trial.scores]
    if not finalists:
        return None
    draw = partial(
        _draw_splits,
        heights=heights_of(standings),
        finalists=finalists,
        winner=winner,
    )
    shown = [f"{trial.name} {score(trial, standings)}" for trial in finalists]
    alternative = f"Scores of the finalists by split: {'; '.join(shown)}"
    rows = [_SPLIT_HEADS]
    for trial in finalists:
        rows.append(_split_row(trial, standings, winner))
    return Section(
        title="The finalists, split by split",
        text=_describe_splits(finalists, winner),
        figures=(svg((9.6, 0.9 + 0.45 * len(finalists)), draw, alternative),),
        table=tuple(rows),
    )


def _describe_splits(finalists: Sequence[Trial], winner: Trial | None) -> str:
    if max(len(trial.scores) for trial in finalists) == 1:
        return (
            "Each point is one split, the bar their mean. With a single split nothing tells how much of a difference "
            "is chance: more splits would."
        )
    text = "Each point is one split, the upright bar their mean; the spread is the sample standard deviation."
    if winner is None:
        return text
    return (
        f"{text} The paired difference compares trials on the same images; its ± is a standard error. It is too small "
        "rather than too large, because the splits share training images (Nadeau and Bengio 2003): a difference below "
        "two of them is no difference."
    )


def _split_row(
    trial: Trial, standings: Standings, winner: Trial | None
) -> tuple[str, str, str, str, str]:
    figure = score(trial, standings)
    splits = str(len(trial.scores))
    if winner is None:
        return (trial.name, figure, splits, "–", "")
    if trial.name == winner.name:
        return (trial.name, figure, splits, "the winner", "")
    difference = paired_difference(trial, winner)
    if difference is None:
        return (trial.name, figure, splits, "–", "")
    better = 0
    for mine, winners in zip(trial.scores, winner.scores, strict=False):
        better += standings.sign * mine > standings.sign * winners
    text = with_spread(
        difference.mean,
        difference.error,
        standings,
        signed=True,
    )
    return (trial.name, figure, splits, text, f"{better} of {difference.splits}")


def _draw_splits(
    axes: Axes, heights: Heights, finalists: Sequence[Trial], winner: Trial | None
) -> None:
    for place, trial in enumerate(finalists):
        has_won = winner is not None and trial.name == winner.name
        colour = VERMILLION if has_won else BLUE
        values = heights.scale * np.array(trial.scores)
        places = np.full(len(values), place)
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
        mean = values.mean()
        axes.plot(
            [mean, mean],
            [place - 0.28, place + 0.28],
            color=colour,
            linewidth=2.4,
        )
    axes.set_yticks(range(len(finalists)), [f"trial {trial.name}" for trial in finalists])
    axes.set_ylim(len(finalists) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(heights.label)
