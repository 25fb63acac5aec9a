"""Learning curves and confusion matrices: PNG files for the run's folder, SVG text for the report.

Their look is in `figures`; Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.evaluation.figures import (
    BLUE,
    INK,
    SOFT,
    VERMILLION,
    clear_blue,
    new_figure,
    png,
    style,
    svg,
)
from epochal.app.evaluation.metrics import Evaluation, check_classes
from epochal.app.store import files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

LOG_SPAN = 50  # a curve that spans more than this factor is unreadable on a linear axis
NUMBERED = 20  # up to so many classes a cell has room for its count
NAMED = 120  # up to so many classes an axis has room for every name
LARGE_NAMES = 40  # up to so many classes names are large and lines between cells strong
LETTER_WIDTH = 0.085  # inches that a letter of an axis takes, on average


@dataclass(frozen=True)
class Panel:
    """Curves that share axes: columns of the history, and how they are drawn."""

    title: str
    unit: str
    keys: tuple[str, ...]
    scale: float = 1.0
    may_be_log: bool = True
    from_zero: bool = False
    in_steps: bool = False
    """Whether a value is that of its whole epoch."""


PANELS = (
    Panel("Loss", "loss (nats)", ("loss", "val_loss")),
    Panel(
        "Accuracy",
        "accuracy (%)",
        ("accuracy", "val_accuracy"),
        scale=100,
        may_be_log=False,
    ),
    Panel(
        "Learning rate",
        "learning rate",
        ("learning_rate",),
        from_zero=True,
        in_steps=True,
    ),
    Panel(
        "Gradient norm",
        "global norm",
        ("gradient_norm",),
        from_zero=True,
    ),
    Panel("Energy: training loss and penalties", "energy (nats)", ("energy",)),
)


def curves_png(path: Path, history: Sequence[Row], best_epoch: int | None = None) -> None:
    """Write all curves of `history` (a row an epoch) as one PNG; a dashed line marks `best_epoch`.

    Rows hold epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, gradient_norm, energy.
    What is missing, None, empty or not finite leaves a gap; a curve without any value leaves no
    panel. Epochs that are not numbered count from 1.
    """
    panels = _panels_with_values(history)
    rows = max(1, math.ceil(len(panels) / 2))
    columns = min(2, max(1, len(panels)))
    with style():
        figure = new_figure(4.8 * columns, 3.4 * rows)
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(rows, columns, place)
            draw_panel(
                axes,
                panel,
                history,
                best_epoch,
            )
        if not panels:
            text = "No epoch has been recorded yet"
            figure.text(
                0.5,
                0.5,
                text,
                ha="center",
                va="center",
                color=SOFT,
            )
        files.write_bytes(Path(path), png(figure))


def curves_svg(history: Sequence[Row], best_epoch: int | None = None) -> list[str]:
    """Return the same curves as one SVG element a panel, which a page can arrange by its width."""
    elements: list[str] = []
    for panel in _panels_with_values(history):
        draw = partial(
            draw_panel,
            panel=panel,
            history=history,
            best_epoch=best_epoch,
        )
        elements.append(svg((4.8, 3.0), draw, panel.title))
    return elements


def confusion_png(path: Path, evaluation: Evaluation, classes: Sequence[str]) -> None:
    """Write the confusion matrix as a PNG: true classes down, predicted ones across, with counts.

    Colour is the share of the true class on a power scale: rare mistakes stay visible beside the
    diagonal.

    Raises:
        ValueError: unless `classes` has one name a class.
    """
    check_classes(evaluation, classes)
    width, height = _matrix_size(classes)
    with style():
        figure = new_figure(width, height)
        _draw_confusion(figure.add_subplot(), evaluation, classes)
        files.write_bytes(Path(path), png(figure))


def confusion_svg(evaluation: Evaluation, classes: Sequence[str]) -> str:
    """Return the confusion matrix as an SVG element."""
    check_classes(evaluation, classes)
    draw = partial(_draw_confusion, evaluation=evaluation, classes=classes)
    return svg(_matrix_size(classes), draw, "Confusion matrix")


def _column(history: Sequence[Row], key: str) -> np.ndarray:
    """Return one column as float64, NaN where a row has no finite value."""
    values = np.full(len(history), np.nan)
    for place, row in enumerate(history):
        cell = row.get(key)
        if cell not in (None, ""):
            values[place] = float(cell)
    values[~np.isfinite(values)] = np.nan
    return values


def _panels_with_values(history: Sequence[Row]) -> list[Panel]:
    """Return the panels for which there is anything to draw."""
    panels = []
    for panel in PANELS:
        columns = [_column(history, key) for key in panel.keys]
        if np.isfinite(columns).any():
            panels.append(panel)
    return panels


def draw_panel(axes: Axes, panel: Panel, history: Sequence[Row], best_epoch: int | None) -> None:
    """Draw training dashed in vermillion, validation solid in blue, the best epoch upright."""
    epochs = _column(history, "epoch")
    counted = np.arange(1, len(epochs) + 1)
    epochs = np.where(np.isnan(epochs), counted, epochs)
    columns = []
    for key in panel.keys:
        values = _column(history, key) * panel.scale
        columns.append(values)
        is_solid = key.startswith("val_") or len(panel.keys) == 1
        _draw_line(
            axes,
            epochs,
            values,
            is_solid=is_solid,
            in_steps=panel.in_steps,
        )
    if best_epoch is not None:
        dots: Any = (0, (1, 2))
        label = f"best epoch {best_epoch}"
        axes.axvline(
            best_epoch,
            color=SOFT,
            linewidth=1,
            linestyle=dots,
            label=label,
        )
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.grid(axis="y")
    _scale_axes(
        axes,
        panel,
        epochs,
        np.concatenate(columns),
    )
    if len(columns) > 1:
        axes.legend(labelcolor=SOFT)


def _draw_line(
    axes: Axes, epochs: np.ndarray, values: np.ndarray, *, is_solid: bool, in_steps: bool
) -> None:
    """Draw one curve, level within each epoch if `in_steps`; nothing where there is no value."""
    if not np.isfinite(values).any():
        return
    label = "training"
    colour = VERMILLION
    dashes: Any = (0, (4, 1.5))
    if is_solid:
        label = "validation"
        colour = BLUE
        dashes = "-"
    course = "default"
    if in_steps:
        course = "steps-mid"
    marker = ""
    if len(values) <= 20:
        marker = "o"
    axes.plot(
        epochs,
        values,
        color=colour,
        linestyle=dashes,
        drawstyle=course,
        marker=marker,
        label=label,
    )


def _scale_axes(axes: Axes, panel: Panel, epochs: np.ndarray, values: np.ndarray) -> None:
    """Scale epochs to whole numbers; values by logarithm, or from zero, where that suits."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    first = np.nanmin(epochs)
    last = np.nanmax(epochs)
    margin = 0.02 * (last - first)
    if first == last:
        margin = 0.5
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    least = np.nanmin(values)
    most = np.nanmax(values)
    is_wide = least > 0 and most > LOG_SPAN * least
    if panel.may_be_log and is_wide:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif panel.from_zero:
        axes.set_ylim(0, 1.1 * most or 1)


def _matrix_side(num_classes: int) -> float:
    """Return the inches of the square: cells shrink with their number, but stay legible."""
    cell = max(0.15, min(0.55, 5.5 / num_classes))
    return min(18.0, max(3.0, num_classes * cell))


def _names_width(classes: Sequence[str]) -> float:
    """Return the inches that the longest class name takes."""
    longest = max(map(len, _shorten(classes)))
    return LETTER_WIDTH * longest


def _matrix_size(classes: Sequence[str]) -> tuple[float, float]:
    """Return width and height in inches: the square, names, title and colour bar."""
    side = _matrix_side(len(classes))
    beside = _names_width(classes)
    below = 0.2
    if _are_upright(classes):
        below = beside
    return side + 1.4 + beside, side + 0.9 + below


def _shorten(classes: Sequence[str]) -> list[str]:
    """Return names as an axis has room for them."""
    names = []
    for name in map(printable, classes):
        if len(name) > 18:
            name = name[:17] + "…"
        names.append(name)
    return names


def _are_upright(classes: Sequence[str]) -> bool:
    """Whether names must stand below their columns, because side by side they would touch."""
    cell = _matrix_side(len(classes)) / len(classes)
    return LETTER_WIDTH + _names_width(classes) > cell


def _draw_confusion(axes: Axes, evaluation: Evaluation, classes: Sequence[str]) -> None:
    """Draw the matrix with its colour bar, names and counts."""
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    images = np.maximum(evaluation.class_counts, 1)
    shares = evaluation.confusion / images[:, None]
    image = axes.imshow(
        shares,
        cmap=clear_blue(),
        norm=PowerNorm(0.35, 0, 1),
        interpolation="none",
    )
    ticks = [0, 0.01, 0.05, 0.25, 0.5, 1]
    bar = axes.figure.colorbar(
        image,
        ax=axes,
        shrink=0.6,
        aspect=28,
        pad=0.02,
        ticks=ticks,
    )
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    _name_axes(axes, classes)
    if len(classes) <= NUMBERED:
        _number_cells(axes, evaluation.confusion, shares)
    zoom = max(1.0, _matrix_side(len(classes)) / 9)
    axes.set_title(f"Confusion matrix of {evaluation.count:,} images", pad=9, fontsize=11.5 * zoom)
    axes.set_xlabel("predicted", fontsize=9.5 * zoom)
    axes.set_ylabel("true", fontsize=9.5 * zoom)


def _name_axes(axes: Axes, classes: Sequence[str]) -> None:
    """Write class names along both axes, cut where long, every n-th where they are too many."""
    names = _shorten(classes)
    ticks = range(0, len(names), math.ceil(len(names) / NAMED))
    shown = [names[tick] for tick in ticks]
    rotation = 0
    if _are_upright(classes):
        rotation = 90
    size = 7.8
    line_width = 0.3
    if len(names) <= LARGE_NAMES:
        size = 9.5
        line_width = 0.7
    elif len(names) > NAMED:
        line_width = 0.0
    axes.set_xticks(
        ticks,
        shown,
        rotation=rotation,
        fontsize=size,
    )
    axes.set_yticks(ticks, shown, fontsize=size)
    edges = np.arange(len(names) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(which="minor", linewidth=line_width)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _number_cells(axes: Axes, confusion: np.ndarray, shares: np.ndarray) -> None:
    """Write counts in the cells; zeros stay blank, so that mistakes stand out."""
    digits = len(str(confusion.max()))
    shrinkage = min(1.0, 12 / len(confusion))
    size = min(9.0, 24 / digits * shrinkage + 2)
    for row, column in np.argwhere(confusion):
        text = str(confusion[row, column])
        colour = INK
        if shares[row, column] > 0.5:
            colour = "white"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=size,
            color=colour,
        )
