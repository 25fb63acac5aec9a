"""Scores of all trials against each hyperparameter."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, svg
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
    width = 4.8
    if len(standings.space) == 1:
        width = 9.6
    figures = []
    for searched in standings.space:
        draw = partial(
            _draw_scores,
            standings=standings,
            searched=searched,
            winner=winner,
            heights=heights,
        )
        alternative = _alternative(standings, searched, winner)
        figures.append(svg((width, 3.0), draw, alternative))
    worse = ""
    if heights.edge is not None:
        worse = " Trials that were much worse stand at the edge."
    text = (
        "Each point is a trial: full ones completed, hollow ones were dropped after some of the "
        "splits, the star won, "
        f"crosses at the worse edge failed.{worse} Where a hyperparameter was inactive, the trial "
        "is not shown. "
        "Good trials that crowd at the end of a range ask for a wider one."
    )
    return Section(
        title="Score against each hyperparameter",
        text=text,
        figures=tuple(figures),
    )


def _alternative(standings: Standings, searched: Range, winner: Trial | None) -> str:
    name = searched.name
    shown = [trial for trial in standings.scored if place_of(searched, trial) is not None]
    text = f"{metric(standings)} against {name}: {number_of(len(shown), 'trial')}"
    if shown:
        best = shown[0]
        figure = score(best, standings)
        value = short(best.values[name])
        text += f"; the best, {figure}, at {value}"
    if winner is not None and place_of(searched, winner) is not None:
        value = short(winner.values[name])
        text += f"; the winner at {value}"
    return text


def _draw_scores(
    axes: Axes, standings: Standings, searched: Range, winner: Trial | None, heights: Heights
) -> None:
    generator = np.random.default_rng(0)
    for status, looks in _LOOKS.items():
        trials = [trial for trial in standings.having(status) if trial is not winner]
        shown, places = _place_trials(searched, trials, generator)
        _draw_points(
            axes,
            heights,
            shown,
            places,
            s=22,
            linewidth=1.1,
            **looks,
        )
    shown, places = _place_trials(
        searched, [trial for trial in standings.scored if trial is winner]
    )
    _draw_points(
        axes,
        heights,
        shown,
        places,
        s=120,
        marker="*",
        color=VERMILLION,
        zorder=3,
    )
    heights.scale_axes(axes)
    _, places = _place_trials(
        searched,
        standings.having(FAILED),
        generator,
    )
    edge = 0.98
    if heights.sign > 0:
        edge = 0.02
    transform = axes.get_xaxis_transform()
    edges = np.full(len(places), edge)
    axes.plot(
        places,
        edges,
        "x",
        color=SOFT,
        transform=transform,
        clip_on=False,
    )
    axes.set_title(printable(searched.name))
    _scale_across(axes, searched)


def _draw_points(
    axes: Axes, heights: Heights, trials: Sequence[Trial], places: np.ndarray, **looks: Any
) -> None:
    upwards = heights.of([trial.score or 0.0 for trial in trials])
    axes.scatter(places, upwards, **looks)


def _place_trials(
    searched: Range, trials: Sequence[Trial], generator: np.random.Generator | None = None
) -> tuple[list[Trial], np.ndarray]:
    """Return the trials that have a place on the axis of a hyperparameter, and their places.

    With a generator those of one choice lie side by side, so that none hides another. Of trials
    that ended well only those with a score are placed.
    """
    shown = []
    places = []
    for trial in trials:
        place = place_of(searched, trial)
        is_shown = trial.score is not None or trial.status == FAILED
        if place is not None and is_shown:
            shown.append(trial)
            places.append(place)
    across = np.array(places, np.float64)
    if searched.kind == "choice" and generator is not None:
        across = across + generator.uniform(-0.18, 0.18, len(across))
    return shown, across


def _scale_across(axes: Axes, searched: Range) -> None:
    """Show the whole range, however little of it was tried."""
    low, high = ends_of(searched)
    if searched.kind == "choice":
        _scale_choices(axes, searched)
    elif searched.kind == "log" and low > 0:
        _scale_logarithm(axes, low, high)
    else:
        from matplotlib.ticker import MaxNLocator

        margin = 0.04 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
        only_whole = searched.kind == "int"
        axes.xaxis.set_major_locator(
            MaxNLocator(
                nbins=7,
                integer=only_whole,
                min_n_ticks=1,
            )
        )


def _scale_choices(axes: Axes, searched: Range) -> None:
    names = [printable(name) for name in choice_names(searched)]
    rotation = 0
    if len("".join(names)) > _CROWDED:
        rotation = 90
    axes.set_xticks(range(len(names)), names, rotation=rotation)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.tick_params(axis="x", length=0)


def _scale_logarithm(axes: Axes, low: float, high: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    ratio = high / low
    margin = 1.5
    if ratio > 1:
        margin = ratio**0.04
    marks: tuple[int, ...] = (1, 2, 5)
    if ratio > 300:
        marks = (1,)
    axes.set_xscale("log")
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
