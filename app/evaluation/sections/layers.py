"""Figures of layers over epochs: JSON lines, pictures and lists of names.

The sections about layers share them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.evaluation.figures import clear_blue, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 64  # up to so many layers an axis has room for every name
LISTED = 6  # names in a sentence


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, none where the file is missing; a line that was cut short is left out."""
    if not path.exists():
        return []
    values = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            values.append(json.loads(line))
    return values


def figures_of(lines: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    """Return one figure of the last line's layers in every line: float64 `[layers, lines]`.

    It is NaN where there is none.
    """
    names = _layer_names(lines)
    columns = []
    for line in lines:
        by_name = {row["layer"]: row[key] for row in line["layers"]}
        column = [by_name.get(name) for name in names]
        columns.append(column)
    # None becomes NaN.
    figures = np.array(columns, np.float64)
    return figures.T


def _layer_names(lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return the layers of the last line."""
    return [row["layer"] for row in lines[-1]["layers"]]


def picture(
    lines: Sequence[dict[str, Any]], key: str, *, title: str, label: str, logarithmic: bool
) -> str:
    """Return an SVG element: layers upwards, epochs across, one figure of each as a colour.

    It is empty where the lines hold no such figure.
    """
    values = figures_of(lines, key)
    if logarithmic:
        values = np.where(values > 0, values, np.nan)
    if not np.isfinite(values).any():
        return ""
    names = _layer_names(lines)
    height = min(9.0, max(3.0, 0.9 + 0.135 * len(names)))

    def draw(axes: Axes) -> None:
        axes.set_title(title)
        _draw_values(
            axes,
            values,
            label,
            logarithmic=logarithmic,
        )
        _name_layers(axes, names)
        _name_epochs(axes, [line["epoch"] for line in lines])

    return svg((4.8, height), draw, title)


def listed(names: Sequence[str]) -> str:
    """Return the names as a sentence has room for them."""
    text = ", ".join(names[:LISTED])
    if len(names) > LISTED:
        text += f" and {len(names) - LISTED} more"
    return text


def _draw_values(axes: Axes, values: np.ndarray, label: str, *, logarithmic: bool) -> None:
    """Draw values as colours, with a bar that explains them."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import FuncFormatter, NullFormatter

    scale: Normalize = Normalize(0, 1)
    if logarithmic:
        low = np.nanmin(values)
        high = np.nanmax(values)
        # At least a decade, so that rounding makes no pattern.
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
    bar.set_label(label)
    bar.outline.set_visible(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _name_layers(axes: Axes, names: list[str]) -> None:
    """Write the layers' names upwards, every n-th where they are too many."""
    step = math.ceil(len(names) / NAMED)
    shown = [_shorten(name) for name in names[::step]]
    size = 6.2
    if len(names) <= 20:
        size = 8.5
    axes.set_yticks(range(0, len(names), step), shown, fontsize=size)


def _name_epochs(axes: Axes, epochs: list[int]) -> None:
    """Write the epochs across, at whole columns only."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def format_epoch(column: float, _place: float) -> str:
        if column == int(column) and 0 <= column < len(epochs):
            return str(epochs[int(column)])
        return ""

    locator = MaxNLocator(integer=True, nbins=8, min_n_ticks=1)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(format_epoch))
    axes.set_xlabel("epoch")


def _shorten(name: str) -> str:
    """Return the end of a path, where layers differ."""
    text = printable(name)
    if len(text) > 24:
        text = "…" + text[-23:]
    return text
