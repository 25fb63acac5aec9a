"""Which learning rates were too low, good, too high, or made training diverge, by the training losses of the trials."""

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
from epochal.app.evaluation.rate_labels import DIVERGED, GOOD, HIGH, LOW, final, guess, labels_of
from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.finalists import mean_curve
from epochal.app.tuning.report.formatting import plain, score, short, short_names
from epochal.app.tuning.report.sweep_data import Sweep, Trial, classes_in, curves_of, read_result

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
_ASTRAY = "is not finite"  # what a trial's message says of a loss, gradient or weight


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A trial's learning rate and what its training loss says of it."""

    trial: Trial
    rate: float
    group: Any
    """The value of the other hyperparameter, None where there is none."""
    final: float
    """The mean of its splits' training losses over their last quarter; infinite where one went astray."""
    before: float
    """The loss of a network that guesses."""
    label: str


def labelled(sweep: Sweep) -> list[Labelled]:
    """By group and rising rate; empty where rates are not comparable.

    They are where learning_rate and at most one other hyperparameter are searched, and all trials are given the same
    epochs, as by Hyperband they are not: trials are compared with those of the same value of the other. A group has at
    least three different rates, and one at which the loss fell.
    """
    others = [parameter.name for parameter in sweep.space if parameter.name != RATE]
    if len(others) == len(sweep.space) or len(others) > 1 or sweep.algorithm == "hyperband":
        return []
    groups: dict[str, list[tuple[Trial, float]]] = {}
    for trial in sorted(
        sweep.having("completed", "dropped", "failed"), key=lambda trial: trial.trial
    ):
        ended = _final(trial)
        if ended is not None and isinstance(trial.values.get(RATE), int | float):
            group = plain(trial.values.get(others[0])) if others else ""
            groups.setdefault(group, []).append((trial, ended))
    return [one for found in groups.values() for one in _group(found, others)]


def _group(found: Sequence[tuple[Trial, float]], others: Sequence[str]) -> list[Labelled]:
    found = sorted(found, key=lambda pair: float(pair[0].values[RATE]))
    rates = [float(trial.values[RATE]) for trial, _ in found]
    finals = [ended for _, ended in found]
    before = next((start for trial, _ in found if (start := _before(trial)) is not None), None)
    if before is None or len(set(rates)) < _FEWEST or not min(finals) < before:
        return []
    return [
        Labelled(
            trial=trial,
            rate=rate,
            group=trial.values.get(others[0]) if others else None,
            final=ended,
            before=before,
            label=label,
        )
        for (trial, ended), rate, label in zip(
            found, rates, labels_of(rates, finals, before), strict=True
        )
    ]


def _final(trial: Trial) -> float | None:
    """None where a trial failed for another reason than its loss, or its curves are lost."""
    splits = trial.folder.glob("split-*")
    if _ASTRAY in (trial.message or "") or any(
        read_result(split).get("rollbacks") for split in splits
    ):
        return math.inf
    curves = [list(curve.values()) for curve in curves_of(trial, "loss") if curve]
    return fmean(map(final, curves)) if curves and trial.status != "failed" else None


def _before(trial: Trial) -> float | None:
    """The loss of a network that has learned nothing; None where the trial's files do not tell."""
    split = trial.folder / "split-1"
    classes = classes_in(split)
    try:
        config = read_config_file(split / "config.yaml")
    except (UsageError, OSError):
        return None
    return guess(config.objective.loss, classes) if classes else None


def rates_section(sweep: Sweep) -> Section | None:
    """A row for each trial, and its training loss over the epochs; None where rates are not comparable."""
    found = labelled(sweep)
    if not found:
        return None
    names = [
        name
        for key, name in short_names(parameter.name for parameter in sweep.space).items()
        if key != RATE
    ]
    groups: dict[str, list[Labelled]] = {}
    for one in found:
        groups.setdefault(_title(one, names), []).append(one)
    text = (
        "By the training loss over the last quarter of the epochs, mean of the splits: a rate is good where it fell by "
        "at least 80 % of what it fell by at the best rate, from where a network starts that guesses; too low or too "
        "high on either side of that; diverged where it is not finite or hardly below guessing. Good rates that are "
        "the lowest or the highest of the table ask for a wider range."
    )
    figures = tuple(
        svg(
            (9.6 if len(groups) == 1 else 4.8, 3.2),
            partial(_draw, group=group, title=title),
            _alternative(group, title),
        )
        for title, group in groups.items()
    )
    heads = ("learning rate", *names, "training loss at the end", "label", "trial", sweep.monitor)
    return Section(
        title="Learning rates",
        text=text,
        figures=figures,
        table=(heads, *(_row(one, sweep, names) for one in found)),
    )


def _title(one: Labelled, names: Sequence[str]) -> str:
    return f"{names[0]} {_named(one.group)}" if names else "training loss"


def _named(group: Any) -> str:
    return "–" if group is None else plain(group)


def _row(one: Labelled, sweep: Sweep, names: Sequence[str]) -> tuple[str, ...]:
    group = [_named(one.group)] if names else []
    ended = f"{one.final:.4g}" if math.isfinite(one.final) else "not finite"
    return (short(one.rate), *group, ended, one.label, one.trial.trial, score(one.trial, sweep))


def _by_label(group: Sequence[Labelled]) -> dict[str, str]:
    """`too low: 0.001 to 0.003` of each label that there is, for rates that rise."""
    found = {label: [short(one.rate) for one in group if one.label == label] for label in _STYLES}
    ranges = {
        label: " to ".join(dict.fromkeys((rates[0], rates[-1])))
        for label, rates in found.items()
        if rates
    }
    return {label: f"{label}: {rates}" for label, rates in ranges.items()}


def _alternative(group: Sequence[Labelled], title: str) -> str:
    return f"Training loss over the epochs, {title}; {'; '.join(_by_label(group).values())}"


def _draw(axes: Axes, group: Sequence[Labelled], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    top = 1.5 * group[0].before
    said = _by_label(group)
    for one in group:
        curve = mean_curve(one.trial, "loss")
        losses = [min(loss, 2 * top) for loss in curve.values()]
        name = said.pop(one.label, None)
        axes.plot(
            list(curve),
            losses,
            label=name,
            marker="." if len(curve) == 1 else "",
            **_STYLES[one.label],
        )
    axes.axhline(group[0].before, color=GRID, linewidth=1, zorder=0)
    axes.set_ylim(0, top)
    axes.set_title(printable(title))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, min_n_ticks=1))
    axes.legend(fontsize=8)
