"""Learning rates of a sweep, called too low, good, too high or diverged by the training losses of
the trials.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.errors import UsageError
from epochal.app.evaluation.figures import BLUE, GRID, INK, SOFT, VERMILLION, svg
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
from epochal.app.tuning.report.standings import Standings, read_data_card, read_result

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
    "By the training loss over the last quarter of the epochs, mean of the splits: a rate is "
    "good where it fell by "
    "at least 80 % of what it fell by at the best rate, from where a network starts that "
    "guesses; too low or too "
    "high on either side of that; diverged where it is not finite or hardly below guessing. Good "
    "rates that are "
    "the lowest or the highest of the table ask for a wider range."
)


@dataclass(frozen=True, kw_only=True)
class _Descent:
    """A trial's learning rate, and the training loss that it ended at."""

    trial: Trial
    rate: float
    group: Any
    """The value of the other hyperparameter, None where there is none."""
    final: float
    """The mean of its splits' training losses over their last quarter; infinite where one was not
    finite.
    """


@dataclass(frozen=True, kw_only=True)
class LabelledRate(_Descent):
    """A trial's learning rate, and what its training loss says of it."""

    before: float
    """The loss of a network that guesses."""
    label: str


def labelled_rates(standings: Standings) -> list[LabelledRate]:
    """Return the learning rates by group, rising; empty where rates are not comparable.

    They are where learning_rate and at most one other hyperparameter are searched, and all trials
    are given the same epochs, as by Hyperband they are not: trials are compared with those of the
    same value of the other. A group has at least three different rates, and one at which the loss
    fell.
    """
    names = [searched.name for searched in standings.space]
    if RATE not in names or len(names) > 2 or standings.plan.algorithm == "hyperband":
        return []
    names.remove(RATE)
    other = None
    if names:
        other = names[0]
    groups: dict[str, list[_Descent]] = {}
    trials = standings.having(COMPLETED, DROPPED, FAILED)
    trials.sort(key=lambda trial: trial.name)
    for trial in trials:
        rate = trial.values.get(RATE)
        final = _final_loss(standings, trial)
        if final is None or not isinstance(rate, int | float):
            continue
        group = None
        if other is not None:
            group = trial.active_values(standings.space).get(other)
        descent = _Descent(
            trial=trial,
            rate=float(rate),
            group=group,
            final=final,
        )
        groups.setdefault(plain(group), []).append(descent)
    labelled = []
    for descents in groups.values():
        labelled += _label_group(standings, descents)
    return labelled


def _label_group(standings: Standings, descents: list[_Descent]) -> list[LabelledRate]:
    """Return the rates of one group with their labels, rising; empty where they are too few, or no
    loss fell.
    """
    before = None
    descents.sort(key=lambda descent: descent.rate)
    for descent in descents:
        before = _guessing_loss(standings, descent.trial)
        if before is not None:
            break
    rates = [descent.rate for descent in descents]
    finals = [descent.final for descent in descents]
    if before is None or len(set(rates)) < _FEWEST or not min(finals) < before:
        return []
    labels = label_rates(rates, finals, before)
    labelled = []
    for descent, label in zip(descents, labels, strict=True):
        labelled.append(
            LabelledRate(
                **descent.__dict__,
                before=before,
                label=label,
            )
        )
    return labelled


def _final_loss(standings: Standings, trial: Trial) -> float | None:
    """Return the mean final loss of the splits; None where a trial failed otherwise, or its curves
    are lost.

    A rate that was lowered on the way was not borne: the loss counts as infinite.
    """
    if _NOT_FINITE in (trial.message or ""):
        return math.inf
    for run in standings.split_runs(trial):
        result = read_result(run)
        if result is not None and result.rollbacks:
            return math.inf
    finals = []
    for curve in standings.curves(trial, "loss"):
        if curve:
            losses = list(curve.values())
            finals.append(final_loss(losses))
    if not finals or trial.status == FAILED:
        return None
    return fmean(finals)


def _guessing_loss(standings: Standings, trial: Trial) -> float | None:
    """Return the loss of a network that has learned nothing; None where the trial's files do not
    tell.
    """
    run = standings.sweep.split_run(trial.name, 1)
    card = read_data_card(run)
    if card is None or not card.classes:
        return None
    try:
        config = run.config()
    except (UsageError, OSError):
        return None
    return guessing_loss(config.objective.loss, len(card.classes))


def rates_section(standings: Standings) -> Section | None:
    """Return a row for each trial, and its training loss over the epochs; None where rates are not
    comparable.
    """
    labelled = labelled_rates(standings)
    if not labelled:
        return None
    names = short_names(searched.name for searched in standings.space)
    del names[RATE]
    other = "".join(names.values())
    rows = [_heads(other, standings)]
    groups: dict[str, list[LabelledRate]] = {}
    for rate in labelled:
        rows.append(_row(rate, standings, other))
        title = "training loss"
        if other:
            title = f"{other} {_group_text(rate)}"
        groups.setdefault(title, []).append(rate)
    width = 4.8
    if len(groups) == 1:
        width = 9.6
    figures = []
    for title, group in groups.items():
        draw = partial(
            _draw_losses,
            standings=standings,
            group=group,
            title=title,
        )
        ranges = "; ".join(_rates_by_label(group).values())
        alternative = f"Training loss over the epochs, {title}; {ranges}"
        figures.append(svg((width, 3.2), draw, alternative))
    return Section(
        title="Learning rates",
        text=_TEXT,
        figures=tuple(figures),
        table=tuple(rows),
    )


def _heads(other: str, standings: Standings) -> tuple[str, ...]:
    heads = ["learning rate", "training loss at the end", "label", "trial"]
    if other:
        heads.insert(1, other)
    return (*heads, standings.plan.monitor)


def _row(rate: LabelledRate, standings: Standings, other: str) -> tuple[str, ...]:
    final = "not finite"
    if math.isfinite(rate.final):
        final = f"{rate.final:.4g}"
    cells = [short(rate.rate)]
    if other:
        cells.append(_group_text(rate))
    cells += [final, rate.label, rate.trial.name]
    cells.append(score(rate.trial, standings))
    return tuple(cells)


def _group_text(rate: LabelledRate) -> str:
    if rate.group is None:
        return "–"
    return plain(rate.group)


def _rates_by_label(group: Sequence[LabelledRate]) -> dict[str, str]:
    """Return `too low: 0.001 to 0.003` for each label that there is, of rates that rise."""
    texts = {}
    for label in _STYLES:
        rates = [short(rate.rate) for rate in group if rate.label == label]
        if not rates:
            continue
        texts[label] = f"{label}: {rates[0]}"
        if rates[-1] != rates[0]:
            texts[label] += f" to {rates[-1]}"
    return texts


def _draw_losses(
    axes: Axes, standings: Standings, group: Sequence[LabelledRate], title: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    before = group[0].before
    top = 1.5 * before
    legend = _rates_by_label(group)
    for rate in group:
        curve = standings.mean_curve(rate.trial, "loss")
        losses = np.minimum(list(curve.values()), 2 * top)
        label = legend.pop(rate.label, None)
        style = dict(_STYLES[rate.label])
        if len(curve) == 1:
            style["marker"] = "."
        axes.plot(
            list(curve),
            losses,
            label=label,
            **style,
        )
    axes.axhline(
        before,
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
