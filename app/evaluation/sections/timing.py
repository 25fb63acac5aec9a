"""Where the time of the training went, from what `Timing` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

PARTS = {
    "input": "Waiting for input",
    "step": "Training step",
    "callbacks": "Callbacks of a step",
    "epoch_callbacks": "Callbacks of an epoch",
    "evaluation": "Evaluation",
    "checkpoints": "Checkpoints",
    "first_step": "Steps that were traced",
}
_MEANING = {
    "data-bound": "the wait for images takes most of it, and a faster model would not shorten it",
    "compute-bound": "the training step takes most of it, and faster input would not shorten it",
    "callback-bound": "callbacks take most of it",
}


def timing(run: Run) -> Section | None:
    """What bounds an iteration, and the median, 95th percentile, total and share of each part of the training."""
    path = run.timing_file
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    parts = found["parts"]
    rows = [_row(name, parts[part], _whole(parts)) for part, name in PARTS.items() if part in parts]
    heads = ("Part", "times", "median", "95th percentile", "total", "share")
    return Section(title="Timing", text=_text(found["bound"], parts), table=(heads, *rows))


def _text(bound: str | None, parts: Mapping[str, Any]) -> str:
    if bound is None:
        return "There were too few steps to tell what an iteration takes."
    iteration = parts["iteration"]
    names = {"input": "waiting for input", "step": "step", "callbacks": "callbacks"}
    shares = ", ".join(
        f"{name} {parts[part]['total'] / iteration['total']:.0%}"
        for part, name in names.items()
        if part in parts
    )
    longest = max((part for part in PARTS if part in parts), key=lambda part: parts[part]["total"])
    return (
        f"An iteration took {_time(iteration['median'])} (median; 95th percentile {_time(iteration['p95'])}) and was "
        f"{bound}: {_MEANING[bound]} ({shares}). "
        f"Of the whole training, {PARTS[longest].lower()} took the most: {parts[longest]['total'] / _whole(parts):.0%}."
    )


def _whole(parts: Mapping[str, Any]) -> float:
    return sum(figures["total"] for part, figures in parts.items() if part in PARTS) or 1.0


def _row(name: str, figures: Mapping[str, float], whole: float) -> tuple[str, ...]:
    times = (_time(figures[key]) for key in ("median", "p95", "total"))
    return (
        name,
        f"{figures['times']:,}",
        *times,
        f"{figures['total'] / whole:.1%}".replace("%", " %"),
    )


def _time(seconds: float) -> str:
    """`0.42 ms`, `345 ms`, `12.3 s` or `1,234 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
