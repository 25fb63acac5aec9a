"""Dead and saturated units, from the lines of `ActivationMonitor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epochal.app.evaluation.sections.layers import lines_of, listed, picture
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

_SATURATED = 0.5  # of a layer's values, from which on a sentence names it


def activations(run: Run) -> Section | None:
    """The section, or None where no activation was recorded."""
    lines = lines_of(run.activations_log)
    if not lines or not lines[-1]["layers"]:
        return None
    epochs = [line for line in lines if line["data"] == "batch" and line["layers"]]
    figures = (
        [
            picture(
                epochs,
                "saturated",
                title="Zero or saturated",
                label="share of the values",
                logarithmic=False,
            ),
            picture(epochs, "spread", title="Spread", label="standard deviation", logarithmic=True),
        ]
        if epochs
        else []
    )
    return Section(
        title="Activations",
        text=" ".join([*_dead(lines[-1]), *_saturated(lines[-1])])
        or "No non-linearity here can die or saturate.",
        figures=tuple(figure for figure in figures if figure),
        table=_table(lines[-1]),
    )


def _dead(line: dict[str, Any]) -> list[str]:
    """Only a whole validation set tells the dead from those that are silent on some images."""
    rectified = [row for row in line["layers"] if row["units"]]
    if not rectified:
        return []
    state, kind = ("dead", "validation") if line["data"] == "validation" else ("silent", "training")
    units = sum(row["units"] for row in rectified)
    dead = sum(len(row["dead"]) for row in rectified)
    if not dead:
        return [
            f"No ReLU is {state}: each of the {units:,} units is above 0 in some of {line['images']:,} {kind} images."
        ]
    worst = sorted(
        (row for row in rectified if row["dead"]), key=lambda row: -len(row["dead"]) / row["units"]
    )
    names = listed([f"{row['layer']} ({len(row['dead'])} of {row['units']})" for row in worst])
    return [
        f"{dead:,} of {units:,} ReLU units are {state}, 0 at every position of all {line['images']:,} {kind} images: "
        f"{names}. Such a unit passes no gradient on: a lower learning rate, or leaky ReLUs, keep units alive."
    ]


def _saturated(line: dict[str, Any]) -> Sequence[str]:
    others = [row for row in line["layers"] if not row["units"] and row["saturated"] is not None]
    if not others:
        return []
    names = [
        f"{row['layer']} ({row['saturated']:.0%})"
        for row in others
        if row["saturated"] >= _SATURATED
    ]
    if not names:
        highest = max(row["saturated"] for row in others)
        return [f"At most {highest:.0%} of a layer's values are saturated (slope below 0.01)."]
    return [
        f"Saturated, with slopes below 0.01: {listed(names)}. Smaller initial weights or a normalisation help."
    ]


def _table(line: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    whole = "validation images" if line["data"] == "validation" else "training images"
    head = (
        f"layer, {line['images']:,} {whole}",
        "mean",
        "spread",
        "zero or saturated",
        "dead units",
    )
    return (head, *(_row(row) for row in line["layers"]))


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    saturated = "–" if row["saturated"] is None else f"{row['saturated']:.1%}"
    dead = "–" if row["units"] is None else f"{len(row['dead'])} of {row['units']}"
    return row["layer"], _number(row["mean"]), _number(row["spread"]), saturated, dead


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
