"""Gradient flow: the gradient's size in every layer, from the lines of `GradientFlow`."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from epochal.app.evaluation.sections.layers import figures_of, lines_of, listed, picture
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

_ADVICE = {
    "vanishing": "They hardly learn: normalisation, residual connections, ReLUs or the initial weights of He help.",
    "exploding": "Lower the learning rate, clip the gradient or start from smaller weights.",
}


def gradient_flow(run: Run) -> Section | None:
    """The section, or None where no gradient was recorded."""
    lines = lines_of(run.gradient_flow_log)
    if not lines or not lines[-1]["layers"]:
        return None
    figures = (
        picture(
            lines,
            "rms",
            title="Gradient",
            label="root mean square",
            logarithmic=True,
        ),
        picture(
            lines,
            "update",
            title="Update of the last step",
            label="share of the weights",
            logarithmic=True,
        ),
    )
    return Section(
        title="Gradient flow",
        text=" ".join([*_verdicts(lines), *_updates(lines), *_clip(lines)]),
        figures=tuple(figure for figure in figures if figure),
        table=_table(lines[-1]),
    )


def _verdicts(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence for vanishing and one for exploding gradients, or that there are none."""
    sentences = []
    for flag, advice in _ADVICE.items():
        times: dict[str, int] = {}
        for line in lines:
            for row in line["layers"]:
                if row["flag"] == flag:
                    times[row["layer"]] = times.get(row["layer"], 0) + 1
        if not times:
            continue
        order = _layers_in_order(lines, times)
        names = [f"{name} ({times[name]} of {len(lines)} times)" for name in order]
        sentences.append(f"The gradient is {flag} in {listed(names)}. {advice}")
    if not sentences:
        sentences.append(
            f"No layer's gradient vanished or exploded; it was measured {len(lines)} times."
        )
    return sentences


def _layers_in_order(lines: Sequence[dict[str, Any]], names: Container[str]) -> list[str]:
    """Return some of the layers in the order in which the lines name them first."""
    order: dict[str, None] = {}
    for line in lines:
        for row in line["layers"]:
            if row["layer"] in names:
                order[row["layer"]] = None
    return list(order)


def _updates(lines: Sequence[dict[str, Any]]) -> list[str]:
    last = figures_of(lines, "update")[:, -1]
    last = last[np.isfinite(last)]
    if not len(last):
        return []
    return [
        f"The last update changed the layers by {last.min():.1e} to {last.max():.1e} of their weights; "
        "at full learning rate about 1e-3 is usual."
    ]


def _clip(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The middle of the epochs' 95th percentiles: the first epochs' gradients may be of another size."""
    values = [line["clip"] for line in lines if line["clip"]]
    if not values:
        return []
    return [
        f"Should training become unstable, clip at --optim.clip-norm {float(np.median(values)):.2g}: one step in "
        "twenty had a longer gradient (95th percentile of the 100 steps before an epoch's end, median of the epochs)."
    ]


def _table(line: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    head = (
        f"layer, epoch {line['epoch']}",
        "gradient",
        "weights",
        "gradient / weights",
        "update / weights",
        "flag",
    )
    rows = []
    for row in line["layers"]:
        figures = [_number(row[key]) for key in ("gradient", "weight", "ratio", "update")]
        rows.append((row["layer"], *figures, row["flag"] or ""))
    return (head, *rows)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2e}"
