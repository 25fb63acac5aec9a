"""The cost of a sweep: time, epochs and images, and the time that dropping trials early has
saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from epochal.app.evaluation.figures import BLUE, SOFT, svg
from epochal.app.evaluation.page import duration
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.trials import COMPLETED, DROPPED, Trial
from epochal.app.tuning.report.standings import Standings, read_data_card
from epochal.app.units import count, number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MINUTES_FROM = 180  # seconds of the longest trial from which the axis counts minutes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of all trials together, without the winner's last training."""

    seconds: float
    epochs: int
    """Over all splits; epochs that a trial resumed from count once."""
    images: int | None
    """Seen in training, those seen again counted again; None where a run does not tell."""
    saved: float
    """Seconds that the splits left out by dropping would have taken, at the pace of the same
    trials.
    """


def cost_of(standings: Standings) -> Cost:
    """Add up the cost by every trial's own files."""
    epochs = 0
    images: int | None = 0
    for trial in standings.trials:
        runs = standings.split_runs(trial)
        for run, trained in zip(
            runs,
            _trained_epochs(standings, trial),
            strict=True,
        ):
            epochs += trained
            if images is None or trained == 0:
                continue
            card = read_data_card(run)
            if card is None:
                images = None
            else:
                images += trained * card.counts.train
    return Cost(
        seconds=sum(trial.seconds for trial in standings.trials),
        epochs=epochs,
        images=images,
        saved=_saved_seconds(standings),
    )


def _trained_epochs(standings: Standings, trial: Trial) -> list[int]:
    """Return for each split the number of epochs that the trial has trained itself."""
    last_before: list[int] = []
    origin = standings.find(trial.promoted_from)
    if origin is not None:
        for curve in standings.curves(origin, "epoch"):
            last_before.append(max(curve, default=0))
    trained = []
    for split, curve in enumerate(standings.curves(trial, "epoch")):
        first = 0
        if split < len(last_before):
            first = last_before[split]
        count = 0
        for epoch in curve:
            if epoch > first:
                count += 1
        trained.append(count)
    return trained


def _saved_seconds(standings: Standings) -> float:
    splits = 0
    for trial in standings.trials:
        splits = max(splits, len(trial.scores))
    saved = 0.0
    for trial in standings.having(DROPPED):
        if trial.scores:
            seconds_a_split = trial.seconds / len(trial.scores)
            saved += seconds_a_split * (splits - len(trial.scores))
    return saved


def cost_section(standings: Standings) -> Section | None:
    """Return totals in words and the time of each trial; None where nothing took any time."""
    cost = cost_of(standings)
    if cost.seconds <= 0:
        return None
    timed = [trial for trial in standings.trials if trial.seconds > 0]
    timed.sort(key=lambda trial: trial.name)
    longest = max(timed, key=lambda trial: trial.seconds)
    trials = number_of(len(timed), "trial")
    alternative = f"Time of {trials}; the longest, {longest.name}, took {duration(longest.seconds)}"
    draw = partial(_draw_times, timed=timed)
    figure = svg((9.6, 2.6), draw, alternative)
    dropped = len(standings.having(DROPPED))
    text = _describe_cost(cost, dropped)
    return Section(
        title="What the sweep cost",
        text=text,
        figures=(figure,),
    )


def _describe_cost(cost: Cost, dropped: int) -> str:
    taken = duration(cost.seconds)
    epochs = number_of(cost.epochs, "epoch")
    text = f"All trials together took {taken} and {epochs}"
    if cost.images is not None:
        text += f", in which {count(cost.images)} images were trained on"
    if not dropped:
        return f"{text}. Nothing was saved by dropping: no trial was dropped."
    trials = number_of(dropped, "trial")
    saved = duration(cost.saved)
    percent = 100 * cost.saved / (cost.seconds + cost.saved)
    return (
        f"{text}. Dropping {trials} early saved about {saved}, "
        f"{percent:.0f} % of what the sweep would have taken without."
    )


def _draw_times(axes: Axes, timed: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    unit = 1.0
    label = "seconds"
    if max(trial.seconds for trial in timed) >= _MINUTES_FROM:
        unit = 60.0
        label = "minutes"
    heights = []
    faces = []
    edges = []
    for trial in timed:
        heights.append(trial.seconds / unit)
        if trial.status == COMPLETED:
            faces.append(BLUE)
            edges.append(BLUE)
        else:
            faces.append("none")
            edges.append(SOFT)
    axes.bar(
        range(len(timed)),
        heights,
        width=0.8,
        color=faces,
        edgecolor=edges,
        linewidth=0.8,
    )

    def name_at(place: float, _: float) -> str:
        if place == int(place) and 0 <= place < len(timed):
            return timed[int(place)].name
        return ""

    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=12,
            min_n_ticks=1,
        )
    )
    axes.xaxis.set_major_formatter(name_at)
    axes.set_xlim(-0.7, max(len(timed), 10) - 0.3)
    axes.set_xlabel("trial (full: completed; hollow: dropped, failed or still running)")
    axes.set_ylabel(label)
    axes.grid(axis="y")
