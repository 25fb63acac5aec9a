"""The cost of a sweep: time, epochs and images, and the time that dropping trials early has saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from epochal.app.evaluation.figures import BLUE, SOFT, svg
from epochal.app.evaluation.page import duration
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.trials import COMPLETED, DROPPED, Trial
from epochal.app.tuning.report.standings import Standings, training_images
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
    """Seconds that the splits left out by dropping would have taken, at the pace of the same trials."""


def cost_of(standings: Standings) -> Cost:
    """Add up the cost by every trial's own files."""
    epochs = 0
    images: int | None = 0
    for trial in standings.trials:
        folders = standings.split_folders(trial)
        for folder, trained in zip(folders, _trained_epochs(standings, trial), strict=True):
            epochs += trained
            images_an_epoch = training_images(folder)
            if images_an_epoch is None and trained > 0:
                images = None
            if images is not None:
                images += trained * (images_an_epoch or 0)
    return Cost(
        seconds=sum(trial.seconds for trial in standings.trials),
        epochs=epochs,
        images=images,
        saved=_saved_seconds(standings),
    )


def _trained_epochs(standings: Standings, trial: Trial) -> list[int]:
    """Return for each split the number of epochs that the trial has trained itself."""
    origin = standings.find(trial.promoted_from)
    first_epochs: list[int] = []
    if origin is not None:
        for curve in standings.curves(origin, "epoch"):
            first_epochs.append(max(curve, default=0))
    trained = []
    for split, curve in enumerate(standings.curves(trial, "epoch")):
        first = first_epochs[split] if split < len(first_epochs) else 0
        trained.append(sum(epoch > first for epoch in curve))
    return trained


def _saved_seconds(standings: Standings) -> float:
    splits = max((len(trial.scores) for trial in standings.trials), default=0)
    saved = 0.0
    for trial in standings.having(DROPPED):
        if trial.scores:
            left_out = splits - len(trial.scores)
            saved += trial.seconds * left_out / len(trial.scores)
    return saved


def cost_section(standings: Standings) -> Section | None:
    """Return totals in words and the time of each trial; None where nothing took any time."""
    cost = cost_of(standings)
    if cost.seconds <= 0:
        return None
    timed = [trial for trial in standings.trials if trial.seconds > 0]
    timed.sort(key=lambda trial: trial.name)
    longest = max(timed, key=lambda trial: trial.seconds)
    alternative = f"Time of {number_of(len(timed), 'trial')}; the longest, {longest.name}, "
    alternative += f"took {duration(longest.seconds)}"
    figure = svg((9.6, 2.6), partial(_draw_times, timed=timed), alternative)
    dropped = len(standings.having(DROPPED))
    return Section(
        title="What the sweep cost", text=_describe_cost(cost, dropped), figures=(figure,)
    )


def _describe_cost(cost: Cost, dropped: int) -> str:
    text = (
        f"All trials together took {duration(cost.seconds)} and {number_of(cost.epochs, 'epoch')}"
    )
    if cost.images is not None:
        text += f", in which {count(cost.images)} images were trained on"
    text += "."
    if not dropped:
        return f"{text} Nothing was saved by dropping: no trial was dropped."
    share = cost.saved / (cost.seconds + cost.saved)
    return (
        f"{text} Dropping {number_of(dropped, 'trial')} early saved about {duration(cost.saved)}, "
        f"{100 * share:.0f} % of what the sweep would have taken without."
    )


def _draw_times(axes: Axes, timed: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    longest = max(trial.seconds for trial in timed)
    in_minutes = longest >= _MINUTES_FROM
    unit = 60.0 if in_minutes else 1.0
    faces = []
    edges = []
    for trial in timed:
        is_full = trial.status == COMPLETED
        faces.append(BLUE if is_full else "none")
        edges.append(BLUE if is_full else SOFT)
    heights = [trial.seconds / unit for trial in timed]
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
    axes.set_ylabel("minutes" if in_minutes else "seconds")
    axes.grid(axis="y")
