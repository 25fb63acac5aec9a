"""Weights and gradients of some layers over the epochs, from files of `WeightHistograms`."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from epochal.app.evaluation.figures import SOFT, clear_blue, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = dict[int, np.ndarray]
"""Buckets `[n, 3]` by epoch, from 0: left edge, right edge and count of each."""

QUANTITIES = ("weights", "gradients")
_KERNEL_TAG = re.compile(r"(weights|gradients)/(.*kernel)")
_CELLS = 60  # upwards
_COLUMNS = 120  # more epochs than that are thinned


def histograms(run: Run) -> Section | None:
    """Return the section about the first, middle and last kernel, or None without histograms."""
    histories = _read_histories(run.tensorboard)
    figures = []
    for path in _choose_kernels(histories):
        for quantity in QUANTITIES:
            if (quantity, path) in histories:
                title = f"{path}: {quantity}"
                draw = partial(
                    _draw,
                    history=histories[quantity, path],
                    title=title,
                )
                figures.append(svg((4.6, 2.6), draw, title))
    if not figures:
        return None
    text = (
        "How the values of the first, middle and last kernel are spread after each epoch: the "
        "more, the bluer; lines are the 5th, 50th and 95th percentile. Gradients are those of one "
        "fixed batch. A spread that grows without end, or gradients that vanish in the first "
        "layers, ask for another learning rate or initialisation."
    )
    return Section(
        title="Histograms over time",
        text=text,
        figures=tuple(figures),
    )


def _choose_kernels(histories: Mapping[tuple[str, str], History]) -> list[str]:
    """Return the paths of the first, the middle and the last kernel, each once."""
    paths = list(dict.fromkeys(path for _, path in histories))
    if not paths:
        return []
    middle = paths[len(paths) // 2]
    return list(dict.fromkeys([paths[0], middle, paths[-1]]))


def _read_histories(folder: Path) -> dict[tuple[str, str], History]:
    """Read the histograms of kernels by quantity and path.

    Of an epoch that was trained again after a stop the last histogram counts.
    """
    histories: dict[tuple[str, str], History] = defaultdict(dict)
    for file in sorted(folder.glob("*tfevents*")):
        for step, tag, buckets in _histograms_in(file):
            match = _KERNEL_TAG.fullmatch(tag)
            if match is not None:
                quantity, path = match.groups()
                histories[quantity, path][step] = buckets
    return histories


def _histograms_in(file: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    """Read step, tag and buckets of each histogram of an event file."""
    import tensorflow as tf

    from epochal.app.data.dataset import without_tuning

    records = without_tuning(tf.data.TFRecordDataset(str(file)))
    try:
        for record in records.as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "histograms":
                    yield event.step, value.tag, tf.make_ndarray(value.tensor)
    except tf.errors.DataLossError:  # a run that was killed while writing leaves half a record
        return


def spread(history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how the values are spread at each epoch; within a bucket they are taken to lie evenly.

    Returns:
        The edges of the cells upwards `[61]`, which leave out what is beyond 99 % of the values;
        the share of values in each cell `[60, epochs]`; the 5th, 50th and 95th percentiles
        `[3, epochs]`.
    """
    distributions = []
    quantiles = []
    for epoch in sorted(history):
        edges, below = _distribution(history[epoch])
        distributions.append((edges, below))
        quantiles.append(
            np.interp(
                [0.005, 0.05, 0.5, 0.95, 0.995],
                below,
                edges,
            )
        )
    marks = np.stack(quantiles, axis=1)
    low = marks[0].min()
    high = marks[-1].max()
    if high <= low:
        high = low + 1e-12
    cell_edges = np.linspace(low, high, _CELLS + 1)
    columns = []
    for edges, below in distributions:
        below_cell_edges = np.interp(cell_edges, edges, below)
        columns.append(np.diff(below_cell_edges))
    return cell_edges, np.stack(columns, axis=1), marks[1:4]


def _distribution(buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the buckets, and the share of values below each."""
    left_edges, right_edges, counts = buckets.T
    edges = np.append(left_edges, right_edges[-1])
    below = np.zeros(len(edges))
    below[1:] = np.cumsum(counts)
    count = max(below[-1], 1.0)
    return edges, below / count


def _draw(axes: Axes, history: History, title: str) -> None:
    """Draw the spread over the epochs as a heat-map, with lines for its percentiles."""
    from matplotlib.ticker import MaxNLocator

    thinning = math.ceil(len(history) / _COLUMNS)
    epochs = sorted(history)[::thinning]
    edges, shares, percentiles = spread({epoch: history[epoch] for epoch in epochs})
    numbers = [epoch + 1 for epoch in epochs]
    width = 1.0
    if len(numbers) > 1:
        width = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    left = numbers[0] - width / 2
    right = numbers[-1] + width / 2
    bottom = edges[0]
    top = edges[-1]
    axes.imshow(
        np.sqrt(shares),
        cmap=clear_blue(most=0.9),
        aspect="auto",
        origin="lower",
        extent=(left, right, bottom, top),
        interpolation="none",
    )
    for values, line_width in zip(
        percentiles,
        (0.8, 1.4, 0.8),
        strict=True,
    ):
        axes.plot(
            numbers,
            values,
            color=SOFT,
            linewidth=line_width,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(
        MaxNLocator(
            integer=True,
            nbins=8,
            min_n_ticks=1,
        )
    )
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))
