"""Learning rates of a sweep, called too low, good, too high or diverged by the training losses of the trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from epochal.app.config.files import read_config_file
from epochal.app.errors import UsageError
from epochal.app.evaluation.figures import BLUE, GRID, INK, SOFT, VERMILLION, printable, svg
from epochal.app.evaluation.rate_labels import (
    DIVERGED,
    GOOD,
    HIGH,
    LOW,
    final_loss,
    guessing_loss,
    label_rates,
)
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.trials import COMPLETED, DROPPED, FAILED, Trial
from epochal.app.tuning.report.formatting import plain, score, short, short_names
from epochal.app.tuning.report.standings import Standings, class_count, read_result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE = "learning_rate"
_FEWEST = 3  # rates of a group; of two, neither is between others
_STYLES: dict[str, dict[str, Any]] = {
    LOW: {"color": SOFT, "linestyle": ":", "linewidth": 1.6},
    GOOD: {"color": BLUE, "linestyle": "-", "linewidth": 1.8},
    HIGH: {"color": INK, "linestyle": (0, (5, 1.5)), "linewidth": 1.4},
    DIVERGED: {"color": VERMILLION, "linestyle": (0, (6, 1.5, 1.5, 1.5)), "linewidth": 1.4},
}
_NOT_FINITE = "is not finite"  # what a trial's message says of a loss, gradient or weight
_TEXT = (
    "By the training loss over the last quarter of the epochs, mean of the splits: a rate is good where it fell by "
    "at least 80 % of what it fell by at the best rate, from where a network starts that guesses; too low or too "
    "high on either side of that; diverged where it is not finite or hardly below guessing. Good rates that are "
    "the lowest or the highest of the table ask for a wider range."
)


@dataclass(frozen=True, kw_only=True)
class LabelledRate:
    """A trial's learning rate, and what its training loss says of it."""

    trial: Trial
    rate: float
    group: Any
    """The value of the other hyperparameter, None where there is none."""
    final: float
    """The mean of its splits' training losses over their last quarter; infinite where one was not finite."""
    before: float
    """The loss of a network that guesses."""
    label: str


def labelled_rates(standings: Standings) -> list[LabelledRate]:
    """Return the learning rates by group, rising; empty where rates are not comparable.

    They are where learning_rate and at most one other hyperparameter are searched, and all trials are given the same
    epochs, as by Hyperband they are not: trials are compared with those of the same value of the other. A group has at
    least three different rates, and one at which the loss fell.
    """
    others = [searched.name for searched in standings.space if searched.name != RATE]
    searches_rate = len(others) < len(standings.space)
    if not searches_rate or len(others) > 1 or standings.plan.algorithm == "hyperband":
        return []
    other = others[0] if others else None
    groups: dict[str, list[tuple[Trial, float]]] = {}
    trials = standings.having(COMPLETED, DROPPED, FAILED)
    for trial in sorted(trials, key=lambda trial: trial.name):
        final = _final_loss(standings, trial)
        if final is not None and isinstance(trial.values.get(RATE), int | float):
            group = plain(trial.active_values.get(other)) if other else ""
            groups.setdefault(group, []).append((trial, final))
    labelled = []
    for members in groups.values():
        labelled += _label_group(standings, members, other)
    return labelled


def _label_group(
    standings: Standings, members: Sequence[tuple[Trial, float]], other: str | None
) -> list[LabelledRate]:
    members = sorted(members, key=lambda member: float(member[0].values[RATE]))
    rates = [float(trial.values[RATE]) for trial, _ in members]
    finals = [final for _, final in members]
    before = None
    for trial, _ in members:
        before = _guessing_loss(standings, trial)
        if before is not None:
            break
    if before is None or len(set(rates)) < _FEWEST or not min(finals) < before:
        return []
    labels = label_rates(rates, finals, before)
    labelled = []
    for (trial, final), rate, label in zip(
        members,
        rates,
        labels,
        strict=True,
    ):
        group = trial.active_values.get(other) if other else None
        labelled.append(
            LabelledRate(
                trial=trial, rate=rate, group=group, final=final, before=before, label=label
            )
        )
    return labelled


def _final_loss(standings: Standings, trial: Trial) -> float | None:
    """Return the mean final loss of the splits; None where a trial failed otherwise, or its curves are lost.

    A rate that was lowered on the way was not borne: the loss counts as infinite.
    """
    if _NOT_FINITE in (trial.message or ""):
        return math.inf
    for folder in standings.split_folders(trial):
        if read_result(folder).get("rollbacks"):
            return math.inf
    finals = []
    for curve in standings.curves(trial, "loss"):
        if curve:
            finals.append(final_loss(list(curve.values())))
    if not finals or trial.status == FAILED:
        return None
    return fmean(finals)


def _guessing_loss(standings: Standings, trial: Trial) -> float | None:
    """Return the loss of a network that has learned nothing; None where the trial's files do not tell."""
    folder = standings.sweep.split_run(trial.name, 1).folder
    classes = class_count(folder)
    try:
        config = read_config_file(folder / "config.yaml")
    except (UsageError, OSError):
        return None
    return guessing_loss(config.objective.loss, classes) if classes else None


def rates_section(standings: Standings) -> Section | None:
    """Return a row for each trial, and its training loss over the epochs; None where rates are not comparable."""
    labelled = labelled_rates(standings)
    if not labelled:
        return None
    names = short_names(searched.name for searched in standings.space)
    del names[RATE]
    other = next(iter(names.values()), None)
    rows = [_heads(other, standings)]
    groups: dict[str, list[LabelledRate]] = {}
    for rate in labelled:
        rows.append(_row(rate, standings, other))
        title = f"{other} {_group_text(rate)}" if other else "training loss"
        groups.setdefault(title, []).append(rate)
    size = (9.6 if len(groups) == 1 else 4.8, 3.2)
    figures = []
    for title, group in groups.items():
        draw = partial(
            _draw_losses,
            standings=standings,
            group=group,
            title=title,
        )
        ranges = "; ".join(_rates_by_label(group).values())
        figures.append(svg(size, draw, f"Training loss over the epochs, {title}; {ranges}"))
    return Section(
        title="Learning rates",
        text=_TEXT,
        figures=tuple(figures),
        table=tuple(rows),
    )


def _heads(other: str | None, standings: Standings) -> tuple[str, ...]:
    heads = ["learning rate", "training loss at the end", "label", "trial"]
    if other:
        heads.insert(1, other)
    return (*heads, standings.plan.monitor)


def _row(rate: LabelledRate, standings: Standings, other: str | None) -> tuple[str, ...]:
    final = f"{rate.final:.4g}" if math.isfinite(rate.final) else "not finite"
    cells = [short(rate.rate), final, rate.label, rate.trial.name, score(rate.trial, standings)]
    if other:
        cells.insert(1, _group_text(rate))
    return tuple(cells)


def _group_text(rate: LabelledRate) -> str:
    return "–" if rate.group is None else plain(rate.group)


def _rates_by_label(group: Sequence[LabelledRate]) -> dict[str, str]:
    """Return `too low: 0.001 to 0.003` for each label that there is, of rates that rise."""
    texts = {}
    for label in _STYLES:
        rates = [short(rate.rate) for rate in group if rate.label == label]
        if rates:
            ends = rates[0] if rates[0] == rates[-1] else f"{rates[0]} to {rates[-1]}"
            texts[label] = f"{label}: {ends}"
    return texts


def _draw_losses(
    axes: Axes, standings: Standings, group: Sequence[LabelledRate], title: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    top = 1.5 * group[0].before
    legend = _rates_by_label(group)
    for rate in group:
        curve = standings.mean_curve(rate.trial, "loss")
        losses = [min(loss, 2 * top) for loss in curve.values()]
        axes.plot(
            list(curve),
            losses,
            label=legend.pop(rate.label, None),
            marker="." if len(curve) == 1 else "",
            **_STYLES[rate.label],
        )
    axes.axhline(
        group[0].before,
        color=GRID,
        linewidth=1,
        zorder=0,
    )
    axes.set_ylim(0, top)
    axes.set_title(printable(title))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=10,
            min_n_ticks=1,
        )
    )
    axes.legend(fontsize=8)
