"""How scores and values of hyperparameters are written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings


def metric(standings: Standings) -> str:
    """`validation accuracy`."""
    return standings.plan.monitor.replace("val_", "validation ").replace("_", " ")


def score(trial: Trial, standings: Standings) -> str:
    """`95.31 ± 0.42 %` of an accuracy, `0.1234 ± 0.0042` of a loss, a dash where there is none."""
    if trial.score is None:
        return "–"
    return with_spread(trial.score, trial.spread, standings)


def with_spread(value: float, spread: float | None, standings: Standings, *, signed: bool = False) -> str:
    """A score, or with `signed` a difference of scores, in the units of `score`."""
    sign = "+" if signed else ""
    scale, digits, unit = (100, 2, " points" if signed else " %") if standings.sign > 0 else (1, 4, "")
    around = "" if spread is None else f" ± {scale * spread:.{digits}f}"
    return f"{scale * value:{sign}.{digits}f}{around}{unit}"


def short(value: Any) -> str:
    """Three digits of a fraction, everything else as it is."""
    return f"{value:.3g}" if isinstance(value, float) else plain(value)


def plain(value: Any) -> str:
    """As YAML would have it: text bare, the rest as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """The last part of each dotted name, the whole name where two have the same last part."""
    names = list(names)
    tails = [name.rpartition(".")[2] for name in names]
    return {
        name: tail if tails.count(tail) == 1 else name
        for name, tail in zip(names, tails, strict=True)
    }


def settings(trial: Trial, standings: Standings, but: str | None = None) -> str:
    """`learning_rate 0.01, optimizer sgd`, in the order of the space; `but` is left out."""
    names = short_names(parameter.name for parameter in standings.space)
    shown = [name for name in names if name in trial.active_values and name != but]
    return ", ".join(f"{names[name]} {short(trial.active_values[name])}" for name in shown)
