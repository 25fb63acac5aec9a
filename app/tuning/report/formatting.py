"""Formatting of scores and of values of hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings


def metric(standings: Standings) -> str:
    """Return `validation accuracy` or `validation loss`."""
    return standings.plan.monitor.replace("val_", "validation ").replace("_", " ")


def score(trial: Trial, standings: Standings) -> str:
    """Return `95.31 ± 0.42 %` of an accuracy, `0.1234 ± 0.0042` of a loss, a dash where there is none."""
    if trial.score is None:
        return "–"
    return with_spread(trial.score, trial.spread, standings)


def with_spread(
    value: float, spread: float | None, standings: Standings, *, signed: bool = False
) -> str:
    """Return a score, or with `signed` a difference of scores, in the units of `score`."""
    sign = "+" if signed else ""
    scale = 1
    digits = 4
    unit = ""
    if standings.sign > 0:
        scale = 100
        digits = 2
        unit = " points" if signed else " %"
    around = "" if spread is None else f" ± {scale * spread:.{digits}f}"
    return f"{scale * value:{sign}.{digits}f}{around}{unit}"


def short(value: Any) -> str:
    """Return three digits of a fraction, everything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else plain(value)


def plain(value: Any) -> str:
    """Return a value as YAML would have it: text bare, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return the last part of each dotted name, the whole name where two have the same last part."""
    tails = {name: name.rpartition(".")[2] for name in names}
    counted = list(tails.values())
    for name, tail in tails.items():
        if counted.count(tail) > 1:
            tails[name] = name
    return tails


def settings(trial: Trial, standings: Standings, without: str | None = None) -> str:
    """Return `learning_rate 0.01, optimizer sgd`, in the order of the space; `without` is left out."""
    names = short_names(searched.name for searched in standings.space)
    values = trial.active_values
    shown = [name for name in names if name in values and name != without]
    return ", ".join(f"{names[name]} {short(values[name])}" for name in shown)
