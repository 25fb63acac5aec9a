"""The score of every trial against each hyperparameter, and all of them at once as parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, GRID, INK, SOFT, VERMILLION, printable, svg
from epochal.app.evaluation.plots import EM
from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.axes import (
    Heights,
    choices_of,
    ends_of,
    heights_of,
    marks_of,
    place_of,
    share_of,
)
from epochal.app.tuning.report.formatting import metric, plain, score, short, short_names
from epochal.app.store.plan import Range
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings
from epochal.app.units import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INACTIVE = -0.2  # where parallel coordinates show a hyperparameter that a trial did not have
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("completed", {"marker": "o", "facecolor": BLUE, "edgecolor": BLUE, "alpha": 0.75}),
    ("dropped", {"marker": "o", "facecolor": "none", "edgecolor": BLUE, "alpha": 0.9}),
)


def scores_section(standings: Standings, winner: Trial | None) -> Section | None:
    """A panel a hyperparameter; None where no trial has a score."""
    if not standings.scored or not standings.space:
        return None
    heights = heights_of(standings)
    figures = [
        svg(
            (4.8 if len(standings.space) > 1 else 9.6, 3.0),  # a lone figure has the width of two
            partial(_draw, standings=standings, parameter=parameter, winner=winner, heights=heights),
            _alternative(standings, parameter, winner),
        )
        for parameter in standings.space
    ]
    worse = " Trials that were much worse stand at the edge." if heights.edge is not None else ""
    text = (
        "Each point is a trial: full ones completed, hollow ones were dropped after some of the splits, the star won, "
        f"crosses at the worse edge failed.{worse} Where a hyperparameter was inactive, the trial is not shown. "
        "Good trials that crowd at the end of a range ask for a wider one."
    )
    return Section(title="Score against each hyperparameter", text=text, figures=tuple(figures))


def _alternative(standings: Standings, parameter: Range, winner: Trial | None) -> str:
    shown = [trial for trial in standings.scored if place_of(parameter, trial) is not None]
    best = (
        f"; the best, {score(shown[0], standings)}, at {short(shown[0].values[parameter.name])}"
        if shown
        else ""
    )
    won = winner.active_values.get(parameter.name) if winner else None
    star = f"; the winner at {short(won)}" if won is not None else ""
    return f"{metric(standings)} against {parameter.name}: {number_of(len(shown), 'trial')}{best}{star}"


def _draw(
    axes: Axes, standings: Standings, parameter: Range, winner: Trial | None, heights: Heights
) -> None:
    generator = np.random.default_rng(0)
    for status, looks in _KINDS:
        trials = [trial for trial in standings.scored if trial.status == status and trial is not winner]
        places, shown = _places(parameter, trials, generator)
        axes.scatter(
            places,
            heights.of([trial.score or 0.0 for trial in shown]),
            s=22,
            linewidth=1.1,
            **looks,
        )
    places, shown = _places(parameter, [winner] if winner in standings.scored and winner else [], None)
    axes.scatter(
        places,
        heights.of([trial.score or 0.0 for trial in shown]),
        s=120,
        marker="*",
        color=VERMILLION,
        zorder=3,
    )
    heights.scale_axes(axes)
    places, shown = _places(parameter, standings.having("failed"), generator)
    axes.plot(
        places,
        np.full(len(shown), 0.02 if standings.sign > 0 else 0.98),
        "x",
        color=SOFT,
        transform=axes.get_xaxis_transform(),
        clip_on=False,
    )
    axes.set_title(printable(parameter.name))
    _scale_across(axes, parameter)


def _places(
    parameter: Range, trials: Sequence[Trial], generator: np.random.Generator | None
) -> tuple[np.ndarray, list[Trial]]:
    """Where trials stand across; those of one choice lie side by side, so that none hides another."""
    found = [
        (place, trial) for trial in trials if (place := place_of(parameter, trial)) is not None
    ]
    places = np.array([place for place, _ in found], np.float64)
    if parameter.kind == "choice" and generator is not None:
        places = places + generator.uniform(-0.18, 0.18, len(places))
    return places, [trial for _, trial in found]


def _scale_across(axes: Axes, parameter: Range) -> None:
    """The whole range, however little of it was tried."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    low, high = ends_of(parameter)
    if parameter.kind == "choice":
        names = choices_of(parameter)
        crowded = sum(map(len, names)) > 48
        axes.set_xticks(
            range(len(names)), list(map(printable, names)), rotation=90 if crowded else 0
        )
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.tick_params(axis="x", length=0)
    elif parameter.kind == "log" and low > 0:
        axes.set_xscale("log")
        margin = (high / low) ** 0.04 if high > low else 1.5
        axes.set_xlim(low / margin, high * margin)
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 300 else (1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.04 * (high - low) or 0.5
        axes.set_xlim(low - margin, high + margin)
        axes.xaxis.set_major_locator(
            MaxNLocator(nbins=7, integer=parameter.kind == "int", min_n_ticks=1)
        )


def parallel_section(standings: Standings) -> Section | None:
    """Every trial as a line through all its hyperparameters to its score; None with fewer than two trials."""
    if len(standings.scored) < 2 or not standings.space:
        return None
    best = max(1, len(standings.scored) // 10)
    first = standings.scored[0]
    values = ", ".join(f"{name} {plain(value)}" for name, value in first.active_values.items())
    alternative = f"Parallel coordinates of {len(standings.scored)} trials; the best, {score(first, standings)}, has {values}"
    highlighted = "orange is the best one"
    if best > 1:
        highlighted = (
            "orange ones are the best tenth, and where they meet on an axis, its value mattered"
        )
    inactive = any(
        place_of(parameter, trial) is None for parameter in standings.space for trial in standings.scored
    )
    below = (
        " Below an axis, a line passes where the hyperparameter was inactive." if inactive else ""
    )
    text = f"A line is a trial, the bluer the better; {highlighted}.{below}"
    draw = partial(_draw_parallel, standings=standings, best=best)
    return Section(
        title="All hyperparameters at once",
        text=text,
        figures=(svg((9.6, 4.2), draw, alternative),),
    )


def _draw_parallel(axes: Axes, standings: Standings, best: int) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    lines = _lines(standings)
    count = len(lines)
    order = list(range(count - 1, -1, -1))  # the best is drawn last
    faint = 0.5 if count < 60 else 0.3
    colours = [
        to_rgba(VERMILLION, 0.9) if i < best else to_rgba(BLUE, 0.08 + faint * (1 - i / count))
        for i in order
    ]
    widths = [2.0 if i < best else 1.1 for i in order]
    axes.add_collection(
        LineCollection([lines[i] for i in order], colors=colours, linewidths=widths)
    )
    names = short_names(parameter.name for parameter in standings.space)
    axes.vlines(range(len(names) + 1), 0, 1, color=GRID, linewidth=1, zorder=0)
    for across, parameter in enumerate(standings.space):
        for height, text in marks_of(parameter):
            _mark(axes, across, height, printable(text))
    _label_scores(axes, standings, len(names))
    _name_axes(axes, [*names.values(), standings.plan.monitor])
    axes.set_xlim(-0.3, len(names) + 0.3)
    axes.set_ylim(INACTIVE - 0.04, 1.08)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _name_axes(axes: Axes, names: list[str]) -> None:
    """Below each axis, aslant where names would touch."""
    crowded = EM * len(names) * (1 + max(map(len, names))) > 9
    axes.set_xticks(range(len(names)), list(map(printable, names)), rotation=30 if crowded else 0)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right" if crowded else "center")


def _lines(standings: Standings) -> list[list[tuple[float, float]]]:
    """A line a trial, by rank: its place on each axis, the score last."""
    heights = heights_of(standings).of([trial.score or 0.0 for trial in standings.scored])
    low = heights.min()
    high = heights.max()
    shares = (heights - low) / (high - low) if high > low else np.full(len(heights), 0.5)
    lines = []
    for trial, share in zip(standings.scored, shares, strict=True):
        places = [(parameter, place_of(parameter, trial)) for parameter in standings.space]
        steps = [
            INACTIVE if place is None else share_of(parameter, place) for parameter, place in places
        ]
        lines.append(
            [(float(across), height) for across, height in enumerate([*steps, float(share)])]
        )
    return lines


def _label_scores(axes: Axes, standings: Standings, across: int) -> None:
    heights = heights_of(standings).of([trial.score or 0.0 for trial in standings.scored])
    ends = sorted({(0.0, float(heights.min())), (1.0, float(heights.max()))})
    for height, value in ends if heights.max() > heights.min() else [(0.5, float(heights[0]))]:
        _mark(axes, across, height, f"{value:.4g}")


def _mark(axes: Axes, across: int, height: float, text: str) -> None:
    """The ends of an axis are named above and below it, where few lines pass; what lies between, beside it."""
    offset = (4.0, 0.0)
    across_side = "left"
    upward_side = "center"
    if height in (0.0, 1.0):
        offset = (0.0, 4.0 if height else -4.0)
        across_side = "center"
        upward_side = "bottom" if height else "top"
    axes.annotate(
        text,
        (across, height),
        offset,
        textcoords="offset points",
        fontsize=8,
        color=INK,
        ha=across_side,
        va=upward_side,
    )
