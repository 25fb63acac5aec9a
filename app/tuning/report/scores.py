"""Scores of all trials against each hyperparameter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, printable, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.plan import Range
from epochal.app.store.trials import COMPLETED, DROPPED, FAILED, Trial
from epochal.app.tuning.report.axes import Heights, choice_names, ends_of, heights_of, place_of
from epochal.app.tuning.report.formatting import metric, score, short
from epochal.app.tuning.report.standings import Standings
from epochal.app.units import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOOKS: dict[str, dict[str, Any]] = {
    COMPLETED: {"marker": "o", "facecolor": BLUE, "edgecolor": BLUE, "alpha": 0.75},
    DROPPED: {"marker": "o", "facecolor": "none", "edgecolor": BLUE, "alpha": 0.9},
}
_CROWDED = 48  # letters of all choices from which they stand upright


def scores_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Return a panel a hyperparameter; None where no trial has a score."""
    if not standings.scored or not standings.space:
        return None
    heights = heights_of(standings)
    width = 4.8 if len(standings.space) > 1 else 9.6  # a lone figure has the width of two
    figures = []
    for searched in standings.space:
        draw = partial(
            _draw_scores, standings=standings, searched=searched, winner=winner, heights=heights
        )
        figures.append(svg((width, 3.0), draw, _alternative(standings, searched, winner)))
    worse = " Trials that were much worse stand at the edge." if heights.edge is not None else ""
    text = (
        "Each point is a trial: full ones completed, hollow ones were dropped after some of the splits, the star won, "
        f"crosses at the worse edge failed.{worse} Where a hyperparameter was inactive, the trial is not shown. "
        "Good trials that crowd at the end of a range ask for a wider one."
    )
    return Section(
        title="Score against each hyperparameter",
        text=text,
        figures=tuple(figures),
    )


def _alternative(standings: Standings, searched: Range, winner: Trial | None) -> str:
    shown = [trial for trial in standings.scored if place_of(searched, trial) is not None]
    text = f"{metric(standings)} against {searched.name}: {number_of(len(shown), 'trial')}"
    if shown:
        best = shown[0]
        value = short(best.active_values[searched.name])
        text += f"; the best, {score(best, standings)}, at {value}"
    if winner is not None and searched.name in winner.active_values:
        text += f"; the winner at {short(winner.active_values[searched.name])}"
    return text


def _draw_scores(
    axes: Axes, standings: Standings, searched: Range, winner: Trial | None, heights: Heights
) -> None:
    generator = np.random.default_rng(0)
    for status, looks in _LOOKS.items():
        trials = [trial for trial in standings.having(status) if trial is not winner]
        places, upwards = _points(
            searched,
            trials,
            heights,
            generator,
        )
        axes.scatter(
            places,
            upwards,
            s=22,
            linewidth=1.1,
            **looks,
        )
    stars = [winner] if winner is not None and winner in standings.scored else []
    places, upwards = _points(
        searched,
        stars,
        heights,
        None,
    )
    axes.scatter(
        places,
        upwards,
        s=120,
        marker="*",
        color=VERMILLION,
        zorder=3,
    )
    heights.scale_axes(axes)
    places, _ = _points(
        searched,
        standings.having(FAILED),
        heights,
        generator,
        scored=False,
    )
    edge = np.full(len(places), 0.02 if heights.sign > 0 else 0.98)
    transform = axes.get_xaxis_transform()
    axes.plot(
        places,
        edge,
        "x",
        color=SOFT,
        transform=transform,
        clip_on=False,
    )
    axes.set_title(printable(searched.name))
    _scale_across(axes, searched)


def _points(
    searched: Range,
    trials: Sequence[Trial],
    heights: Heights,
    generator: np.random.Generator | None,
    *,
    scored: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of trials across and upwards; those of one choice lie side by side, so that none hides another.

    Without a score a trial has no place, unless all trials are to be shown (`scored` is False).
    """
    places = []
    scores = []
    for trial in trials:
        place = place_of(searched, trial)
        if place is not None and (trial.score is not None or not scored):
            places.append(place)
            scores.append(trial.score or 0.0)
    across = np.array(places, np.float64)
    if searched.kind == "choice" and generator is not None:
        across = across + generator.uniform(-0.18, 0.18, len(across))
    return across, heights.of(scores)


def _scale_across(axes: Axes, searched: Range) -> None:
    """Show the whole range, however little of it was tried."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = ends_of(searched)
    if searched.kind == "choice":
        names = [printable(name) for name in choice_names(searched)]
        rotation = 90 if sum(map(len, names)) > _CROWDED else 0
        axes.set_xticks(range(len(names)), names, rotation=rotation)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.tick_params(axis="x", length=0)
    elif searched.kind == "log" and low > 0:
        axes.set_xscale("log")
        ratio = high / low
        margin = ratio**0.04 if high > low else 1.5
        axes.set_xlim(low / margin, high * margin)
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if ratio > 300 else (1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.04 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
        whole = searched.kind == "int"
        axes.xaxis.set_major_locator(
            MaxNLocator(
                nbins=7,
                integer=whole,
                min_n_ticks=1,
            )
        )
