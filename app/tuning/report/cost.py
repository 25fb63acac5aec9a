"""What a sweep cost: time, epochs and images, and what dropping trials early has saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from epochal.app.evaluation.figures import BLUE, SOFT, svg
from epochal.app.evaluation.page import duration
from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.sweep_data import Sweep, Trial, curves_of, images_in
from epochal.app.units import count, number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of all trials together, without the winner's last training."""

    seconds: float
    epochs: int
    """Over all splits; what a trial took over from another counts once."""
    images: int | None
    """Seen in training, those seen again counted again; None where a run does not tell."""
    saved: float
    """Seconds that the splits left out by dropping would have taken, at the pace of the same trials."""


def cost_of(sweep: Sweep) -> Cost:
    """Adds up what every trial's own files say."""
    epochs = 0
    images = 0
    known = True
    for trial in sweep.trials:
        for split, trained in enumerate(_epochs(sweep, trial), start=1):
            each = images_in(trial.folder / f"split-{split}")
            known = known and (each is not None or trained == 0)
            epochs = epochs + trained
            images = images + trained * (each or 0)
    return Cost(
        seconds=sum(trial.seconds for trial in sweep.trials),
        epochs=epochs,
        images=images if known else None,
        saved=_saved(sweep),
    )


def _epochs(sweep: Sweep, trial: Trial) -> list[int]:
    """How many epochs each split of a trial has trained itself."""
    curves = curves_of(trial, "epoch")
    origin = sweep.find(trial.goes_on_from)
    before = curves_of(origin, "epoch") if origin is not None else []
    taken = [max(curve, default=0) for curve in before] + [0] * len(curves)
    return [
        sum(epoch > first for epoch in curve) for curve, first in zip(curves, taken, strict=False)
    ]


def _saved(sweep: Sweep) -> float:
    splits = max((len(trial.scores) for trial in sweep.trials), default=0)
    return sum(
        trial.seconds * (splits - len(trial.scores)) / len(trial.scores)
        for trial in sweep.having("dropped")
        if trial.scores
    )


def cost_section(sweep: Sweep) -> Section | None:
    """Totals in words and the time of each trial; None where nothing took any time."""
    found = cost_of(sweep)
    if found.seconds <= 0:
        return None
    timed = sorted(
        (trial for trial in sweep.trials if trial.seconds > 0), key=lambda trial: trial.trial
    )
    longest = max(timed, key=lambda trial: trial.seconds)
    alternative = f"Time of {number_of(len(timed), 'trial')}; the longest, {longest.trial}, took {duration(longest.seconds)}"
    figure = svg((9.6, 2.6), partial(_draw, timed=timed), alternative)
    return Section(title="What the sweep cost", text=_text(sweep, found), figures=(figure,))


def _text(sweep: Sweep, found: Cost) -> str:
    seen = (
        "" if found.images is None else f", in which {count(found.images)} images were trained on"
    )
    said = f"All trials together took {duration(found.seconds)} and {number_of(found.epochs, 'epoch')}{seen}."
    dropped = len(sweep.having("dropped"))
    if not dropped:
        return f"{said} Nothing was saved by dropping: no trial was dropped."
    share = found.saved / (found.seconds + found.saved)
    return (
        f"{said} Dropping {number_of(dropped, 'trial')} early saved about {duration(found.saved)}, "
        f"{100 * share:.0f} % of what the sweep would have taken without."
    )


def _draw(axes: Axes, timed: Sequence[Trial]) -> None:
    from matplotlib.ticker import MaxNLocator

    unit, name = (
        (60.0, "minutes") if max(trial.seconds for trial in timed) >= 180 else (1.0, "seconds")
    )
    full = [trial.status == "completed" for trial in timed]
    axes.bar(
        range(len(timed)),
        [trial.seconds / unit for trial in timed],
        width=0.8,
        color=[BLUE if done else "none" for done in full],
        edgecolor=[BLUE if done else SOFT for done in full],
        linewidth=0.8,
    )
    names = [trial.trial for trial in timed]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12, min_n_ticks=1))
    axes.xaxis.set_major_formatter(
        lambda place, _: (
            names[int(place)] if place == int(place) and 0 <= place < len(names) else ""
        )
    )
    axes.set_xlim(-0.7, max(len(timed), 10) - 0.3)
    axes.set_xlabel("trial (full: completed; hollow: dropped, failed or still running)")
    axes.set_ylabel(name)
    axes.grid(axis="y")
