"""Weights and gradients of some layers over the epochs, from the event files of `WeightHistograms`."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
"""Of an epoch, from 0: buckets `[n, 3]`, each left edge, right edge and count."""

KINDS = ("weights", "gradients")
_KERNEL = re.compile(r"(weights|gradients)/(.*kernel)")
_CELLS = 60  # upwards
_COLUMNS = 120  # more epochs than that are thinned


def histograms(run: Run) -> Section | None:
    """Of the first, middle and last kernel: how its values were spread at the end of each epoch."""
    found = _read(run.tensorboard)
    paths = list(dict.fromkeys(path for _, path in found))
    chosen = (
        list(dict.fromkeys(paths[place] for place in (0, len(paths) // 2, -1))) if paths else []
    )
    figures = [
        svg(
            (4.6, 2.6),
            partial(_draw, history=found[kind, path], title=f"{path}: {kind}"),
            f"{path}: {kind}",
        )
        for path in chosen
        for kind in KINDS
        if (kind, path) in found
    ]
    if not figures:
        return None
    text = (
        "How the values of the first, middle and last kernel are spread after each epoch: the more, the bluer; lines "
        "are the 5th, 50th and 95th percentile. Gradients are those of one fixed batch. A spread that grows without "
        "end, or gradients that vanish in the first layers, ask for another learning rate or initialisation."
    )
    return Section(
        title="Histograms over time",
        text=text,
        figures=tuple(figures),
    )


def _read(folder: Path) -> dict[tuple[str, str], History]:
    """Histograms of kernels by kind and path; of an epoch that was trained again after a stop, the last."""
    found: dict[tuple[str, str], History] = {}
    for file in sorted(folder.glob("*tfevents*")):
        for step, tag, buckets in _histograms_in(file):
            if place := _KERNEL.fullmatch(tag):
                found.setdefault((place[1], place[2]), {})[step] = buckets
    return found


def _histograms_in(file: Path) -> Iterator[tuple[int, str, np.ndarray]]:
    import tensorflow as tf

    from epochal.app.data.dataset import without_tuning

    try:
        for record in without_tuning(tf.data.TFRecordDataset(str(file))).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "histograms":
                    yield event.step, value.tag, tf.make_ndarray(value.tensor)
    except tf.errors.DataLossError:  # a run that was killed while writing leaves half a record
        return


def spread(history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the edges upwards `[61]`, the share of values in each cell `[60, epochs]`, and percentiles `[3, epochs]`.

    Values are taken to lie evenly within a bucket. The edges leave out what is beyond 99 % of the values.
    """
    columns = [history[epoch] for epoch in sorted(history)]
    marks = np.stack(
        [_quantiles(buckets, [0.005, 0.05, 0.5, 0.95, 0.995]) for buckets in columns], axis=1
    )
    low = marks[0].min()
    high = marks[-1].max()
    edges = np.linspace(low, high if high > low else low + 1e-12, _CELLS + 1)
    below = [np.interp(edges, *_distribution(buckets)) for buckets in columns]
    return edges, np.diff(np.stack(below, axis=1), axis=0), marks[1:4]


def _distribution(buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges, and the share of values below each."""
    counts = np.concatenate([[0.0], np.cumsum(buckets[:, 2])])
    return np.append(buckets[:, 0], buckets[-1, 1]), counts / max(counts[-1], 1.0)


def _quantiles(buckets: np.ndarray, shares: list[float]) -> np.ndarray:
    edges, below = _distribution(buckets)
    return np.interp(shares, below, edges)


def _draw(axes: Axes, history: History, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    epochs = sorted(history)
    epochs = epochs[:: -(-len(epochs) // _COLUMNS)]
    edges, shares, percentiles = spread({epoch: history[epoch] for epoch in epochs})
    half = (epochs[-1] - epochs[0]) / max(1, len(epochs) - 1) / 2 or 0.5
    sides = (epochs[0] + 1 - half, epochs[-1] + 1 + half, edges[0], edges[-1])
    blues = clear_blue(most=0.9)
    axes.imshow(
        np.sqrt(shares),
        cmap=blues,
        aspect="auto",
        origin="lower",
        extent=sides,
        interpolation="none",
    )
    for values, width in zip(percentiles, (0.8, 1.4, 0.8), strict=True):
        axes.plot(
            [epoch + 1 for epoch in epochs],
            values,
            color=SOFT,
            linewidth=width,
        )
    axes.set_xlim(sides[:2])
    axes.set_ylim(sides[2:])
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
