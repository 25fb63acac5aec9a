"""Learning curves and confusion matrices: PNG files for the run's folder, SVG text for the report.

Their look is in `figures`; Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import (
    BLUE,
    INK,
    SOFT,
    VERMILLION,
    clear_blue,
    new_figure,
    png,
    printable,
    style,
    svg,
)
from epochal.app.evaluation.metrics import Evaluation, check_classes
from epochal.app.store import files as storage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Mapping[str, Any]

LOG_SPAN = 50  # a curve that spans more than this factor is unreadable on a linear axis
NUMBERED = 20  # up to so many classes a cell has room for its count
NAMED = 120  # up to so many classes an axis has room for every name
EM = 0.085  # inches that a letter of an axis takes, on average


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: str
    keys: tuple[str, ...]
    scale: float = 1.0
    may_be_log: bool = True
    from_zero: bool = False
    in_steps: bool = False  # a value is that of its whole epoch


PANELS = (
    _Panel("Loss", "loss (nats)", ("loss", "val_loss")),
    _Panel(
        "Accuracy",
        "accuracy (%)",
        ("accuracy", "val_accuracy"),
        scale=100,
        may_be_log=False,
    ),
    _Panel(
        "Learning rate",
        "learning rate",
        ("learning_rate",),
        from_zero=True,
        in_steps=True,
    ),
    _Panel(
        "Gradient norm",
        "global norm",
        ("gradient_norm",),
        from_zero=True,
    ),
    _Panel("Energy: training loss and penalties", "energy (nats)", ("energy",)),
)


def curves_png(path: Path, history: Sequence[Row], best_epoch: int | None = None) -> None:
    """Writes all curves of `history` (one row an epoch) as one PNG; a dashed line marks `best_epoch`.

    Rows hold epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, gradient_norm, energy. What is missing,
    None, empty or not finite leaves a gap; a curve without any value leaves no panel. Epochs that are not
    numbered count from 1.
    """
    with style():
        panels = _drawable(history)
        figure = new_figure(9.6 if len(panels) > 1 else 4.8, 3.4 * max(1, (len(panels) + 1) // 2))
        for place, panel in enumerate(panels, start=1):
            axes = figure.add_subplot((len(panels) + 1) // 2, min(2, len(panels)), place)
            _draw_panel(axes, panel, history, best_epoch)
        if not panels:
            figure.text(
                0.5, 0.5, "No epoch has been recorded yet", ha="center", va="center", color=SOFT
            )
        storage.write_bytes(Path(path), png(figure))


def curves_svg(history: Sequence[Row], best_epoch: int | None = None) -> list[str]:
    """The same curves as one SVG element a panel, so that a page can arrange them by its width."""
    context: dict[str, Any] = {"history": history, "best_epoch": best_epoch}
    return [
        svg((4.8, 3.0), partial(_draw_panel, panel=panel, **context), panel.title)
        for panel in _drawable(history)
    ]


def confusion_png(path: Path, evaluation: Evaluation, classes: Sequence[str]) -> None:
    """Writes the confusion matrix as a PNG: true classes down, predicted ones across, counts in the cells.

    Colour is the share of the true class on a power scale: rare mistakes stay visible beside the diagonal.
    Raises ValueError unless `classes` has one name a class.
    """
    check_classes(evaluation, classes)
    with style():
        figure = new_figure(*_matrix_size(classes))
        _draw_confusion(figure.add_subplot(), evaluation, classes)
        storage.write_bytes(Path(path), png(figure))


def confusion_svg(evaluation: Evaluation, classes: Sequence[str]) -> str:
    """The confusion matrix as an SVG element."""
    check_classes(evaluation, classes)
    draw = partial(_draw_confusion, evaluation=evaluation, classes=classes)
    return svg(_matrix_size(classes), draw, "Confusion matrix")


def _values(history: Sequence[Row], key: str) -> np.ndarray:
    """One column as float64, NaN where a row has no finite value."""
    cells = (row.get(key) for row in history)
    values = np.array([np.nan if cell in (None, "") else float(cell) for cell in cells], np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _drawable(history: Sequence[Row]) -> list[_Panel]:
    """The panels for which there is anything to draw."""
    return [
        panel
        for panel in PANELS
        if any(np.isfinite(_values(history, key)).any() for key in panel.keys)
    ]


def _draw_panel(axes: Axes, panel: _Panel, history: Sequence[Row], best_epoch: int | None) -> None:
    """Training dashed in vermillion, validation solid in blue, the best epoch as an upright line."""
    epochs = _values(history, "epoch")
    epochs = np.where(np.isnan(epochs), np.arange(1, len(epochs) + 1), epochs)
    columns = {key: _values(history, key) * panel.scale for key in panel.keys}
    for key, values in columns.items():
        course = "steps-mid" if panel.in_steps else "default"
        _draw_line(
            axes, epochs, values, solid=key.startswith("val_") or len(columns) == 1, course=course
        )
    if best_epoch is not None:
        dots: Any = (0, (1, 2))
        axes.axvline(
            best_epoch, color=SOFT, linewidth=1, linestyle=dots, label=f"best epoch {best_epoch}"
        )
    axes.set_title(panel.title)
    axes.set_ylabel(panel.unit)
    axes.grid(axis="y")
    _scale_axes(
        axes,
        panel,
        epochs,
        np.concatenate(list(columns.values())),
    )
    if len(columns) > 1:
        axes.legend(labelcolor=SOFT)


def _draw_line(
    axes: Axes, epochs: np.ndarray, values: np.ndarray, *, solid: bool, course: str
) -> None:
    """One curve, between epochs as Matplotlib's draw style `course` has it; nothing where there is no value."""
    dashes: Any = "-" if solid else (0, (4, 1.5))
    if np.isfinite(values).any():
        axes.plot(
            epochs,
            values,
            color=BLUE if solid else VERMILLION,
            linestyle=dashes,
            drawstyle=course,
            marker="o" if len(values) <= 20 else "",
            label="validation" if solid else "training",
        )


def _scale_axes(axes: Axes, panel: _Panel, epochs: np.ndarray, values: np.ndarray) -> None:
    """Whole epochs across; upwards logarithmic where needed, from zero where a constant is likely."""
    from matplotlib.ticker import MaxNLocator, NullFormatter

    first = np.nanmin(epochs)
    last = np.nanmax(epochs)
    margin = max(0.5 if first == last else 0.0, 0.02 * (last - first))
    axes.set_xlim(first - margin, last + margin)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=8,
            min_n_ticks=1,
        )
    )
    if panel.may_be_log and _spans_far(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif panel.from_zero:
        axes.set_ylim(0, 1.1 * np.nanmax(values) or 1)


def _spans_far(values: np.ndarray) -> bool:
    """Whether a logarithmic axis is needed, and possible."""
    return bool(np.nanmin(values) > 0 and np.nanmax(values) / np.nanmin(values) > LOG_SPAN)


def _matrix_side(num_classes: int) -> float:
    """Inches of the square: cells shrink with their number, but up to NAMED never below a legible label."""
    return min(18.0, max(3.0, num_classes * max(0.15, min(0.55, 5.5 / num_classes))))


def _matrix_size(classes: Sequence[str]) -> tuple[float, float]:
    """Inches of the figure: the square, the names beside it, the title above it, the colour bar."""
    side = _matrix_side(len(classes))
    names = EM * max(map(len, _short(classes)))
    return side + 1.4 + names, side + 0.9 + (names if _upright(classes) else 0.2)


def _short(classes: Sequence[str]) -> list[str]:
    """Names as an axis has room for them."""
    return [name if len(name) <= 18 else name[:17] + "…" for name in map(printable, classes)]


def _upright(classes: Sequence[str]) -> bool:
    """Whether names must stand below their columns, because side by side they would touch."""
    return EM * (1 + max(map(len, _short(classes)))) > _matrix_side(len(classes)) / len(classes)


def _draw_confusion(axes: Axes, evaluation: Evaluation, classes: Sequence[str]) -> None:
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import PercentFormatter

    shares = evaluation.confusion / np.maximum(evaluation.class_counts, 1)[:, None]
    image = axes.imshow(
        shares,
        cmap=clear_blue(),
        norm=PowerNorm(0.35, 0, 1),
        interpolation="none",
    )
    bar = axes.figure.colorbar(
        image, ax=axes, shrink=0.6, aspect=28, pad=0.02, ticks=[0, 0.01, 0.05, 0.25, 0.5, 1]
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
    """Class names along both axes, cut where long, every n-th where they are too many."""
    names = _short(classes)
    ticks = range(0, len(names), -(-len(names) // NAMED))
    shown = [names[tick] for tick in ticks]
    size = 9.5 if len(names) <= 40 else 7.8
    axes.set_xticks(
        ticks,
        shown,
        rotation=90 if _upright(classes) else 0,
        fontsize=size,
    )
    axes.set_yticks(ticks, shown, fontsize=size)
    edges = np.arange(len(names) + 1) - 0.5
    axes.set_xticks(edges, minor=True)
    axes.set_yticks(edges, minor=True)
    axes.grid(
        which="minor", linewidth=(0.7 if len(names) <= 40 else 0.3) if len(names) <= NAMED else 0.0
    )
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _number_cells(axes: Axes, confusion: np.ndarray, shares: np.ndarray) -> None:
    """Counts in the cells; zeros stay blank, so that mistakes stand out."""
    size = min(9.0, 24 / len(str(confusion.max())) * min(1.0, 12 / len(confusion)) + 2)
    for row, column in np.argwhere(confusion):
        colour = "white" if shares[row, column] > 0.5 else INK
        axes.text(
            column,
            row,
            str(confusion[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color=colour,
        )
