"""Figures of layers over epochs: JSON lines, pictures and lists of names, shared by the sections about layers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import clear_blue, printable, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 64  # up to so many layers an axis has room for every name
LISTED = 6  # names in a sentence


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file in their order, none where it is missing; what was cut short is left out."""
    if not path.exists():
        return []
    return [
        json.loads(line)
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def figures_of(lines: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """One figure of every layer of the last line (down) in every line (across): float64, NaN where there is none."""
    columns = [{row["layer"]: row[key] for row in line["layers"]} for line in lines]
    names = [row["layer"] for row in lines[-1]["layers"]]
    return np.array([[column.get(name) for column in columns] for name in names], np.float64)


def picture(
    lines: Sequence[dict[str, Any]], key: str, *, title: str, label: str, logarithmic: bool
) -> str:
    """An SVG element: layers from the lowest (below) to the topmost, epochs across, the figure as a colour.

    Empty where the lines hold no such figure.
    """
    values = figures_of(lines, key)
    shown = np.where(values > 0, values, np.nan) if logarithmic else values
    if not np.isfinite(shown).any():
        return ""
    names = [row["layer"] for row in lines[-1]["layers"]]
    height = min(9.0, max(3.0, 0.9 + 0.135 * len(names)))
    draw = partial(
        _draw,
        values=shown,
        names=names,
        epochs=[line["epoch"] for line in lines],
        words=(title, label),
        logarithmic=logarithmic,
    )
    return svg((4.8, height), draw, title)


def listed(names: Sequence[str]) -> str:
    """Some names as a sentence has room for them."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _draw(
    axes: Axes,
    values: np.ndarray,
    names: list[str],
    epochs: list[int],
    words: tuple[str, str],
    logarithmic: bool,
) -> None:
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    low = np.nanmin(values)
    high = np.nanmax(values)
    scale: Normalize = Normalize(0, 1)
    if logarithmic:  # at least a decade: rounding is no pattern
        scale = LogNorm(min(low, high / 10), high)
    image = axes.imshow(
        values,
        cmap=clear_blue(least=0.06),
        norm=scale,
        aspect="auto",
        origin="lower",
        interpolation="none",
    )
    bar = axes.figure.colorbar(
        image,
        ax=axes,
        aspect=28,
        pad=0.02,
    )
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(words[1])
    bar.outline.set_visible(False)
    step = -(-len(names) // NAMED)
    size = 8.5 if len(names) <= 20 else 6.2
    axes.set_yticks(
        range(0, len(names), step), [_short(name) for name in names[::step]], fontsize=size
    )
    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=8,
            min_n_ticks=1,
        )
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: _epoch(epochs, place)))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("epoch")
    axes.set_title(words[0])


def _epoch(epochs: list[int], place: float) -> str:
    inside = place == int(place) and 0 <= place < len(epochs)
    return str(epochs[int(place)]) if inside else ""


def _short(name: str) -> str:
    """The end of a path, where layers differ."""
    text = printable(name)
    return text if len(text) <= 24 else "…" + text[-23:]
