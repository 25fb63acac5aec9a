"""Dead and saturated units, from the lines of `ActivationMonitor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from epochal.app.evaluation.sections.layers import lines_of, listed, picture
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

_SATURATED = 0.5  # of a layer's values, from which on a sentence names it


def activations(run: Run) -> Section | None:
    """Return the section, or None where no activation was recorded."""
    lines = lines_of(run.activations_log)
    if not lines or not lines[-1]["layers"]:
        return None
    last = lines[-1]
    epochs = [line for line in lines if line["data"] == "batch" and line["layers"]]
    figures = []
    if epochs:
        saturation = picture(
            epochs,
            "saturated",
            title="Zero or saturated",
            label="share of the values",
            logarithmic=False,
        )
        spread = picture(
            epochs, "spread", title="Spread", label="standard deviation", logarithmic=True
        )
        for figure in (saturation, spread):
            if figure:
                figures.append(figure)
    sentences = [*_dead(last), *_saturated(last)]
    if not sentences:
        sentences = ["No non-linearity here can die or saturate."]
    return Section(
        title="Activations",
        text=" ".join(sentences),
        figures=tuple(figures),
        table=_table(last),
    )


def _dead(line: dict[str, Any]) -> list[str]:
    """Return a sentence about dead units.

    Only a whole validation set tells the dead from those that are silent on some images.
    """
    rectified = [row for row in line["layers"] if row["units"]]
    if not rectified:
        return []
    state = "silent"
    images = f"{line['images']:,} training images"
    if line["data"] == "validation":
        state = "dead"
        images = f"{line['images']:,} validation images"
    num_units = sum(row["units"] for row in rectified)
    num_dead = sum(len(row["dead"]) for row in rectified)
    if not num_dead:
        return [
            f"No ReLU is {state}: each of the {num_units:,} units is above 0 in some of {images}."
        ]
    rectified.sort(key=_dead_share, reverse=True)
    names = []
    for row in rectified:
        if row["dead"]:
            names.append(f"{row['layer']} ({_dead_of_units(row)})")
    return [
        f"{num_dead:,} of {num_units:,} ReLU units are {state}, 0 at every position of all "
        f"{images}: {listed(names)}. Such a unit passes no gradient on: a lower learning rate, or "
        "leaky ReLUs, keep units alive."
    ]


def _dead_share(row: dict[str, Any]) -> float:
    """Return the share of a layer's units that are dead."""
    return float(len(row["dead"]) / row["units"])


def _dead_of_units(row: dict[str, Any]) -> str:
    """Return `2 of 8`."""
    num_dead = len(row["dead"])
    return f"{num_dead} of {row['units']}"


def _saturated(line: dict[str, Any]) -> Sequence[str]:
    """Return a sentence about the layers whose values lie where the non-linearity is flat."""
    shares = {}
    for row in line["layers"]:
        if not row["units"] and row["saturated"] is not None:
            shares[row["layer"]] = row["saturated"]
    if not shares:
        return []
    names = []
    for layer, share in shares.items():
        if share >= _SATURATED:
            names.append(f"{layer} ({share:.0%})")
    if not names:
        highest = max(shares.values())
        return [f"At most {highest:.0%} of a layer's values are saturated (slope below 0.01)."]
    return [
        f"Saturated, with slopes below 0.01: {listed(names)}. "
        "Smaller initial weights or a normalisation help."
    ]


def _table(line: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the figures of each layer, the heads first."""
    split = "training"
    if line["data"] == "validation":
        split = "validation"
    images = f"{line['images']:,} {split} images"
    head = (f"layer, {images}", "mean", "spread", "zero or saturated", "dead units")
    table: list[tuple[str, ...]] = [head]
    for row in line["layers"]:
        mean = _format(row["mean"], ".3g")
        spread = _format(row["spread"], ".3g")
        saturated = _format(row["saturated"], ".1%")
        dead = "–"
        if row["units"] is not None:
            dead = _dead_of_units(row)
        table.append((row["layer"], mean, spread, saturated, dead))
    return tuple(table)


def _format(value: float | None, specification: str) -> str:
    """Return a number in a format, a dash where there is none."""
    if value is None:
        return "–"
    return format(value, specification)
