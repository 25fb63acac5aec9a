"""Formatting of scores and of values of hyperparameters."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings


def metric(standings: Standings) -> str:
    """Return `validation accuracy`, `validation loss` or `validation macro F1`."""
    words = standings.plan.monitor.replace("val_", "validation ").replace("_", " ")
    return words.replace("f1", "F1")


def score(trial: Trial, standings: Standings) -> str:
    """Return `95.31 ± 0.42 %` of an accuracy, `0.1234 ± 0.0042` of a loss, a dash where there is
    none.
    """
    if trial.score is None:
        return "–"
    return with_spread(trial.score, trial.spread, standings)


def with_spread(
    value: float, spread: float | None, standings: Standings, *, signed: bool = False
) -> str:
    """Return a score, or with `signed` a difference of scores, in the units of `score`."""
    scale = 1
    digits = 4
    unit = ""
    if standings.sign > 0:
        scale = 100
        digits = 2
        unit = " %"
        if signed:
            unit = " points"
    text = f"{scale * value:.{digits}f}"
    if signed:
        text = f"{scale * value:+.{digits}f}"
    if spread is not None:
        text += f" ± {scale * spread:.{digits}f}"
    return text + unit


def short(value: Any) -> str:
    """Return three digits of a fraction, everything else as it is."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return plain(value)


def plain(value: Any) -> str:
    """Return a value as YAML would have it: text bare, the rest as JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the last part of each dotted name, the whole name where two have the same last
    part.
    """
    tails = {}
    for name in names:
        tails[name] = name.rpartition(".")[2]
    counts = Counter(tails.values())
    for name, tail in tails.items():
        if counts[tail] > 1:
            tails[name] = name
    return tails


def settings(trial: Trial, standings: Standings, without: str | None = None) -> str:
    """Return `learning_rate 0.01, optimizer sgd`, in the order of the space; `without` is left
    out.
    """
    names = short_names(searched.name for searched in standings.space)
    values = trial.active_values(standings.space)
    parts = []
    for name, short_name in names.items():
        if name in values and name != without:
            parts.append(f"{short_name} {short(values[name])}")
    return ", ".join(parts)
