"""Parallel coordinates: every trial of a sweep as a line through all its hyperparameters to its
score.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from epochal.app.characters import printable
from epochal.app.evaluation.figures import BLUE, GRID, INK, VERMILLION, svg
from epochal.app.evaluation.plots import LETTER_WIDTH
from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.axes import axis_marks, heights_of, place_of, share_of
from epochal.app.tuning.report.formatting import plain, score, short_names
from epochal.app.tuning.report.standings import Standings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INACTIVE = -0.2  # the height at which a line passes a hyperparameter that its trial did not have
_MANY = 60  # lines, from which they are drawn fainter
Line = list[tuple[int, float]]


def parallel_section(standings: Standings) -> Section | None:
    """Return all trials with a score as lines; None where there are fewer than two."""
    trials = standings.scored
    if len(trials) < 2 or not standings.space:
        return None
    best = trials[0]
    best_count = max(1, len(trials) // 10)
    highlighted = "orange is the best one"
    if best_count > 1:
        highlighted = (
            "orange ones are the best tenth, and where they meet on an axis, its value mattered"
        )
    text = f"A line is a trial, the bluer the better; {highlighted}."
    lines = _trial_lines(standings)
    if np.any(np.array(lines)[:, :, 1] == INACTIVE):
        text += " Below an axis, a line passes where the hyperparameter was inactive."
    values = []
    for name, value in best.active_values(standings.space).items():
        values.append(f"{name} {plain(value)}")
    alternative = f"Parallel coordinates of {len(trials)} trials; "
    alternative += f"the best, {score(best, standings)}, has {', '.join(values)}"
    draw = partial(
        _draw_lines,
        standings=standings,
        lines=lines,
        best_count=best_count,
    )
    figure = svg((9.6, 4.2), draw, alternative)
    return Section(
        title="All hyperparameters at once",
        text=text,
        figures=(figure,),
    )


def _trial_lines(standings: Standings) -> list[Line]:
    """Return a line a trial, by rank: its height at each axis, the score last."""
    heights = _score_heights(standings)
    low = heights.min()
    span = heights.max() - low
    score_shares = np.full(len(heights), 0.5)
    if span > 0:
        score_shares = (heights - low) / span
    lines = []
    for trial, score_share in zip(
        standings.scored,
        score_shares,
        strict=True,
    ):
        shares = []
        for searched in standings.space:
            place = place_of(searched, trial)
            if place is None:
                shares.append(INACTIVE)
            else:
                shares.append(share_of(searched, place))
        shares.append(float(score_share))
        lines.append(list(enumerate(shares)))
    return lines


def _score_heights(standings: Standings) -> np.ndarray:
    scores = [trial.score or 0.0 for trial in standings.scored]
    return heights_of(standings).of(scores)


def _draw_lines(axes: Axes, standings: Standings, lines: list[Line], best_count: int) -> None:
    _add_lines(axes, lines, best_count)
    short = short_names(searched.name for searched in standings.space)
    names = [*short.values(), standings.plan.monitor]
    axes.vlines(
        range(len(names)),
        0,
        1,
        color=GRID,
        linewidth=1,
        zorder=0,
    )
    for across, searched in enumerate(standings.space):
        for height, text in axis_marks(searched):
            _draw_mark(
                axes,
                across,
                height,
                printable(text),
            )
    for height, text in _score_marks(standings):
        _draw_mark(
            axes,
            len(short),
            height,
            text,
        )
    _name_axes(axes, names)
    axes.set_xlim(-0.3, len(short) + 0.3)
    axes.set_ylim(INACTIVE - 0.04, 1.08)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _add_lines(axes: Axes, lines: list[Line], best_count: int) -> None:
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba

    count = len(lines)
    strength = 0.5
    if count >= _MANY:
        strength = 0.3
    colours = []
    widths = []
    for rank in reversed(range(count)):  # the best is drawn last
        if rank < best_count:
            colours.append(to_rgba(VERMILLION, 0.9))
            widths.append(2.0)
        else:
            colours.append(to_rgba(BLUE, 0.08 + strength * (1 - rank / count)))
            widths.append(1.1)
    axes.add_collection(
        LineCollection(
            lines[::-1],
            colors=colours,
            linewidths=widths,
        )
    )


def _score_marks(standings: Standings) -> list[tuple[float, str]]:
    heights = _score_heights(standings)
    low = heights.min()
    high = heights.max()
    if high == low:
        return [(0.5, f"{low:.4g}")]
    return [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")]


def _name_axes(axes: Axes, names: list[str]) -> None:
    """Write the names below the axes, aslant where they would touch."""
    longest = max(map(len, names))
    needed = LETTER_WIDTH * len(names) * (1 + longest)
    texts = [printable(name) for name in names]
    if needed > 9:
        axes.set_xticks(
            range(len(names)),
            texts,
            rotation=30,
            horizontalalignment="right",
        )
    else:
        axes.set_xticks(range(len(names)), texts)


def _draw_mark(axes: Axes, across: int, height: float, text: str) -> None:
    """Write the ends of an axis above and below it, where few lines pass; what lies between, beside
    it.
    """
    offset = (4.0, 0.0)
    horizontal = "left"
    vertical = "center"
    if height == 1.0:
        offset = (0.0, 4.0)
        horizontal = "center"
        vertical = "bottom"
    elif height == 0.0:
        offset = (0.0, -4.0)
        horizontal = "center"
        vertical = "top"
    axes.annotate(
        text,
        (across, height),
        offset,
        textcoords="offset points",
        fontsize=8,
        color=INK,
        ha=horizontal,
        va=vertical,
    )
