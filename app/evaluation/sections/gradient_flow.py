"""Gradient flow: the gradient's size in every layer, from the lines of `GradientFlow`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from epochal.app.evaluation.sections.layers import figures_of, lines_of, listed, picture
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

_ADVICE = {
    "vanishing": (
        "They hardly learn: normalisation, residual connections, ReLUs or the initial weights of "
        "He help."
    ),
    "exploding": "Lower the learning rate, clip the gradient or start from smaller weights.",
}


def gradient_flow(run: Run) -> Section | None:
    """Return the section, or None where no gradient was recorded."""
    lines = lines_of(run.gradient_flow_log)
    if not lines or not lines[-1]["layers"]:
        return None
    gradients = picture(
        lines,
        "rms",
        title="Gradient",
        label="root mean square",
        logarithmic=True,
    )
    updates = picture(
        lines,
        "update",
        title="Update of the last step",
        label="share of the weights",
        logarithmic=True,
    )
    figures = []
    for figure in (gradients, updates):
        if figure:
            figures.append(figure)
    sentences = [*_flag_sentences(lines), *_update_sentences(lines), *_clip_sentences(lines)]
    return Section(
        title="Gradient flow",
        text=" ".join(sentences),
        figures=tuple(figures),
        table=_table(lines[-1]),
    )


def _flag_sentences(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence for vanishing and one for exploding gradients, or that there are none."""
    sentences = []
    for flag, advice in _ADVICE.items():
        times: Counter[str] = Counter()
        for line in lines:
            for row in line["layers"]:
                if row["flag"] == flag:
                    times[row["layer"]] += 1
        if not times:
            continue
        names = []
        for layer in _layers_in_order(lines, times):
            names.append(f"{layer} ({times[layer]} of {len(lines)} times)")
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


def _update_sentences(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence about the range of the last update's sizes."""
    updates = figures_of(lines, "update")
    last = updates[:, -1]
    last = last[np.isfinite(last)]
    if not len(last):
        return []
    least = last.min()
    most = last.max()
    return [
        f"The last update changed the layers by {least:.1e} to {most:.1e} of their weights; "
        "at full learning rate about 1e-3 is usual."
    ]


def _clip_sentences(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence with a norm at which to clip: the median of the epochs' 95th percentiles.

    It is a median because the first epochs' gradients may be of another size.
    """
    norms = []
    for line in lines:
        if line["clip"]:
            norms.append(line["clip"])
    if not norms:
        return []
    norm = float(np.median(norms))
    return [
        f"Should training become unstable, clip at --optim.clip-norm {norm:.2g}: one step in "
        "twenty had a longer gradient (95th percentile of the 100 steps before an epoch's end, "
        "median of the epochs)."
    ]


def _table(line: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the figures of each layer, the heads first."""
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
