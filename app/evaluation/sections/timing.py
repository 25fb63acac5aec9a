"""Timing: the time that each part of the training took, from the file of `Timing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from epochal.app.evaluation.sections.section import Section
from epochal.app.store.record import read_json
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
    """Return the section, or None where the time was not measured.

    It says what bounds an iteration, and how long each part of the training took.
    """
    path = run.timing_file
    if not path.exists():
        return None
    recorded = read_json(path)
    parts = recorded["parts"]
    total = _total(parts)
    rows = []
    for part, name in PARTS.items():
        if part in parts:
            rows.append(_row(name, parts[part], total))
    heads = ("Part", "times", "median", "95th percentile", "total", "share")
    return Section(
        title="Timing",
        text=_text(recorded["bound"], parts),
        table=(heads, *rows),
    )


def _text(bound: str | None, parts: Mapping[str, Any]) -> str:
    """Return what bounds an iteration, and which part of the training took the most."""
    if bound is None:
        return "There were too few steps to tell what an iteration takes."
    iteration = parts["iteration"]
    names = {"input": "waiting for input", "step": "step", "callbacks": "callbacks"}
    shares = []
    for part, name in names.items():
        if part in parts:
            share = parts[part]["total"] / iteration["total"]
            shares.append(f"{name} {share:.0%}")
    totals = {}
    for part in PARTS:
        if part in parts:
            totals[part] = parts[part]["total"]
    longest = max(totals, key=totals.__getitem__)
    longest_share = totals[longest] / _total(parts)
    median = format_seconds(iteration["median"])
    p95 = format_seconds(iteration["p95"])
    return (
        f"An iteration took {median} (median; 95th percentile {p95}) and was "
        f"{bound}: {_MEANING[bound]} ({', '.join(shares)}). "
        f"Of the whole training, {PARTS[longest].lower()} took the most: {longest_share:.0%}."
    )


def _total(parts: Mapping[str, Any]) -> float:
    """Return the seconds of all parts, 1 where there are none."""
    seconds = 0.0
    for part, figures in parts.items():
        if part in PARTS:
            seconds += figures["total"]
    return seconds or 1.0


def _row(name: str, figures: Mapping[str, float], total: float) -> tuple[str, ...]:
    share = f"{100 * figures['total'] / total:.1f} %"
    return (
        name,
        f"{figures['times']:,}",
        format_seconds(figures["median"]),
        format_seconds(figures["p95"]),
        format_seconds(figures["total"]),
        share,
    )


def format_seconds(seconds: float) -> str:
    """Return `0.42 ms`, `345 ms`, `12.3 s` or `1,234 s`."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 1000:
        return f"{seconds:.3g} s"
    return f"{seconds:,.0f} s"
