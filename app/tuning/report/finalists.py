"""The best trials side by side: learning curves of all, and the scores of the finalists split by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, GRID, VERMILLION, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.axes import heights_of
from epochal.app.tuning.report.formatting import metric, score, with_spread
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings
from epochal.app.units import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINALISTS = 5
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (2, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (1, 1)))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A finalist's scores minus the winner's, split by split."""

    mean: float
    error: float | None
    """Standard error of the mean; None of a single split."""
    splits: int


def finalists_of(standings: Standings, winner: Trial | None) -> list[Trial]:
    """The best completed trials by rank, and the winner where it is not among them."""
    found = [trial for trial in standings.scored if trial.status == "completed"][:FINALISTS]
    return (
        found
        if winner is None or winner in found or winner not in standings.scored
        else [*found[:-1], winner]
    )


def paired(trial: Trial, other: Trial) -> Difference | None:
    """The mean difference over the splits that both have; None where there is none."""
    differences = [mine - its for mine, its in zip(trial.scores, other.scores, strict=False)]
    if not differences:
        return None
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
    return Difference(mean=fmean(differences), error=error, splits=len(differences))


def curves_section(standings: Standings, winner: Trial | None) -> Section | None:
    """The monitored figure over the epochs; None where no trial has recorded any."""
    curves = {
        trial.name: curve for trial in standings.trials if (curve := standings.mean_curve(trial, standings.plan.monitor))
    }
    if not curves:
        return None
    bold = [trial for trial in finalists_of(standings, winner) if trial.name in curves]
    names = ", ".join(trial.name for trial in bold)
    alternative = f"{metric(standings)} over the epochs of {number_of(len(curves), 'trial')}"
    figure = svg(
        (9.6, 4.2),
        partial(_draw_curves, standings=standings, curves=curves, bold=bold, winner=winner),
        alternative + (f"; the finalists are {names}" if names else ""),
    )
    text = (
        f"The {metric(standings)} of every trial, mean of its splits; bold ones are the finalists. Curves of finalists "
        "that still improve at their last epoch ask for more epochs."
    )
    return Section(title="Learning curves", text=text, figures=(figure,))


def _draw_curves(
    axes: Axes,
    standings: Standings,
    curves: dict[str, dict[int, float]],
    bold: list[Trial],
    winner: Trial | None,
) -> None:
    from matplotlib.ticker import MaxNLocator

    heights = heights_of(standings)
    alpha = min(0.5, max(0.1, 12 / len(curves)))
    for curve in curves.values():
        axes.plot(
            list(curve),
            heights.scale * np.array(list(curve.values())),
            color=BLUE,
            alpha=alpha,
            linewidth=0.9,
            marker="." if len(curve) == 1 else "",
        )
    for trial, dashes in zip(bold, _DASHES, strict=False):
        curve = curves[trial.name]
        won = winner is not None and trial.name == winner.name
        axes.plot(
            list(curve),
            heights.scale * np.array(list(curve.values())),
            color=VERMILLION if won else BLUE,
            linestyle=dashes,
            linewidth=2.4 if won else 1.8,
            marker="o" if len(curve) == 1 else "",
            label=f"trial {trial.name}{', the winner' if won else ''}",
        )
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    heights.scale_axes(axes)
    _bound(
        axes,
        [value for curve in curves.values() for value in curve.values()],
        heights.sign,
        heights.scale,
    )
    if bold:
        axes.legend(fontsize=8.5)


def _bound(axes: Axes, values: Sequence[float], sign: int, scale: float) -> None:
    """Leaves out what losses of a diverged tenth would squeeze everything else for."""
    if sign < 0 and axes.get_yscale() == "linear":
        top = float(np.quantile(values, 0.9))
        axes.set_ylim(min(0.0, min(values)), 1.3 * scale * top or 1)


def splits_section(standings: Standings, winner: Trial | None) -> Section | None:
    """The finalists' scores split by split, and what they differ from the winner's; None where none completed."""
    finalists = [trial for trial in finalists_of(standings, winner) if trial.scores]
    if not finalists:
        return None
    figure = svg(
        (9.6, 0.9 + 0.45 * len(finalists)),
        partial(_draw_splits, standings=standings, finalists=finalists, winner=winner),
        "Scores of the finalists by split: "
        + "; ".join(f"{trial.name} {score(trial, standings)}" for trial in finalists),
    )
    heads = (
        "trial",
        "mean ± spread",
        "splits",
        "minus the winner, paired",
        "splits better than it",
    )
    return Section(
        title="The finalists, split by split",
        text=_text(finalists, winner),
        figures=(figure,),
        table=(heads, *(_row(trial, standings, winner) for trial in finalists)),
    )


def _text(finalists: Sequence[Trial], winner: Trial | None) -> str:
    if max(len(trial.scores) for trial in finalists) == 1:
        return (
            "Each point is one split, the bar their mean. With a single split nothing tells how much of a difference "
            "is chance: more splits would."
        )
    said = "Each point is one split, the upright bar their mean; the spread is the sample standard deviation."
    if winner is None:
        return said
    return (
        f"{said} The paired difference compares trials on the same images; its ± is a standard error. It is too small "
        "rather than too large, because the splits share training images (Nadeau and Bengio 2003): a difference below "
        "two of them is no difference."
    )


def _row(trial: Trial, standings: Standings, winner: Trial | None) -> tuple[str, ...]:
    head = (trial.name, score(trial, standings), str(len(trial.scores)))
    if winner is None or trial.name == winner.name:
        return (*head, "the winner" if winner else "–", "")
    found = paired(trial, winner)
    if found is None:
        return (*head, "–", "")
    pairs = zip(trial.scores, winner.scores, strict=False)
    better = sum(standings.sign * mine > standings.sign * its for mine, its in pairs)
    difference = with_spread(found.mean, found.error, standings, signed=True)
    return (*head, difference, f"{better} of {found.splits}")


def _draw_splits(
    axes: Axes, standings: Standings, finalists: Sequence[Trial], winner: Trial | None
) -> None:
    heights = heights_of(standings)
    for place, trial in enumerate(finalists):
        colour = VERMILLION if winner is not None and trial.name == winner.name else BLUE
        values = heights.scale * np.array(trial.scores)
        axes.axhline(place, color=GRID, linewidth=0.7, zorder=0)
        axes.scatter(
            values, np.full(len(values), place), s=26, color=colour, alpha=0.65, linewidth=0
        )
        axes.plot([values.mean()] * 2, [place - 0.28, place + 0.28], color=colour, linewidth=2.4)
    axes.set_yticks(range(len(finalists)), [f"trial {trial.name}" for trial in finalists])
    axes.set_ylim(len(finalists) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(heights.label)
