"""Cost plots: PNG files of the costs of a model's parts, and of runs by accuracy and cost.

Their look is in `figures`; Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.app.characters import printable
from epochal.app.evaluation.cost_tables import heading
from epochal.app.evaluation.figures import BLUE, INK, SOFT, new_figure, png, style
from epochal.app.store import files
from epochal.app.units import count, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from epochal.app.evaluation.pareto import ComparedRun
    from epochal.models.complexity import LayerCost, ModelCost

MAX_PARTS = 25  # bars of a panel
VISIBLE_SHARE = 0.005  # of the sum: what rounds to a percent
# Up to so many runs each has its name beside it, else only those of the front.
MAX_NAMED_RUNS = 6
MARKERS = {"architecture": "o", "operations": "s"}  # by what a run is cheaper
MARGIN = 1.6  # factor between the cheapest or dearest run and the edge


@dataclass(frozen=True, kw_only=True)
class Part:
    """Layers that belong together, and what they cost."""

    name: str
    multiply_adds: int
    params: int
    kept_bytes: int


def costs_png(path: Path, cost: ModelCost) -> None:
    """Write multiply-adds, parameters and activations kept for training as bars of a PNG file."""
    parts = group_layers(cost.layers)
    with style():
        figure = new_figure(9.6, 1.2 + 0.25 * len(parts))
        figure.suptitle(
            heading(cost),
            x=0.01,
            ha="left",
            color=SOFT,
            fontsize=9.5,
        )
        left, middle, right = figure.subplots(1, 3, sharey=True)
        _draw_bars(left, parts, "multiply_adds")
        left.set_title(f"Multiply-adds: {count(cost.multiply_adds)}")
        _draw_bars(middle, parts, "params")
        middle.set_title(f"Parameters: {count(cost.params)}")
        _draw_bars(right, parts, "kept_bytes")
        right.set_title(f"Kept for training: {size(cost.kept_bytes)}")
        files.write_bytes(path, png(figure))


def group_layers(layers: Sequence[LayerCost]) -> list[Part]:
    """Group layers by the first words of their names, in at most `MAX_PARTS` parts if possible.

    Left out is what has no weights and keeps next to nothing for training.
    """
    names = _block_names(layers)
    words = [name.split("_") for name in names]
    parts = _sum_parts(layers, names)
    depth = max(map(len, words))
    while len(parts) > MAX_PARTS and depth > 1:
        depth -= 1
        prefixes = ["_".join(layer_words[:depth]) for layer_words in words]
        parts = _sum_parts(layers, prefixes)
    return parts


def _block_names(layers: Sequence[LayerCost]) -> list[str]:
    """Return each layer's name without the last word, which says what the layer does in its block.

    A layer that has no name but the one that Keras made up belongs to the next that has one.
    """
    names: list[str] = []
    block = ""
    for layer in reversed(layers):
        if not block or not _is_named_by_keras(layer):
            block = layer.name
            first_words, _, last_word = block.rpartition("_")
            if first_words and not last_word.isdigit():
                block = first_words
        names.append(block)
    names.reverse()
    return names


def _is_named_by_keras(layer: LayerCost) -> bool:
    """Recognise `batch_normalization_3` of BatchNormalization, also of our own version of it."""
    name = re.sub(r"_\d+$", "", layer.name).replace("_", "")
    layer_class = layer.kind.removeprefix("Fused").lower()
    return name == layer_class


def _sum_parts(layers: Sequence[LayerCost], names: Sequence[str]) -> list[Part]:
    """Add up the layers of each name.

    A name that goes on from the one before it, as `c5_dense` does from `c5`, belongs to that one.
    """
    groups: dict[str, list[LayerCost]] = defaultdict(list)
    group = ""
    for layer, name in zip(layers, names, strict=True):
        if not group or not name.startswith(f"{group}_"):
            group = name
        groups[group].append(layer)
    least_kept_bytes = VISIBLE_SHARE * sum(layer.kept_bytes for layer in layers)
    parts = []
    for name, members in groups.items():
        part = Part(
            name=name,
            multiply_adds=sum(layer.multiply_adds for layer in members),
            params=sum(layer.params for layer in members),
            kept_bytes=sum(layer.kept_bytes for layer in members),
        )
        if part.multiply_adds or part.params or part.kept_bytes > least_kept_bytes:
            parts.append(part)
    return parts


def _draw_bars(axes: Axes, parts: Sequence[Part], field: str) -> None:
    """Draw a bar for one field of each part, its share of the sum behind it."""
    places = range(len(parts))
    values = [getattr(part, field) for part in parts]
    total = sum(values) or 1
    longest = max(values, default=0) or 1
    axes.barh(
        places,
        values,
        height=0.72,
        color=BLUE,
    )
    for place, value in zip(places, values, strict=True):
        share = ""
        if value >= VISIBLE_SHARE * total:
            share = f"{100 * value / total:.0f} %"
        elif value:
            share = "< 1 %"
        right_of_bar = value + 0.015 * longest
        axes.text(
            right_of_bar,
            place,
            share,
            va="center",
            fontsize=8,
            color=SOFT,
        )
    axes.set_yticks(places, [printable(part.name) for part in parts])
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlim(0, 1.18 * longest)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def pareto_png(path: Path, runs: Sequence[ComparedRun]) -> None:
    """Write test accuracy against multiply-adds as a PNG file, a panel for each data set.

    A line joins the runs that no other run beats.
    """
    by_dataset: dict[str, list[ComparedRun]] = defaultdict(list)
    for run in runs:
        by_dataset[run.dataset].append(run)
    with style():
        figure = new_figure(7.2, 0.4 + 3.8 * len(by_dataset))
        for place, dataset in enumerate(by_dataset, start=1):
            axes = figure.add_subplot(len(by_dataset), 1, place)
            _draw_dataset(axes, dataset, by_dataset[dataset])
        files.write_bytes(path, png(figure))


def _draw_dataset(axes: Axes, dataset: str, runs: Sequence[ComparedRun]) -> None:
    """Draw the runs of one data set; those of the front are full and joined by steps."""
    costs = [run.multiply_adds for run in runs]
    left = min(costs) / MARGIN
    right = max(costs) * MARGIN
    _prepare_axes(axes, left, right)
    title = f"{printable(dataset)}: {len(runs)} run"
    if len(runs) > 1:
        title += "s"
    axes.set_title(title)
    for run in runs:
        _draw_run(axes, run)
    best = [run for run in runs if run.front]
    _draw_front(axes, best, right)
    named = best
    if len(runs) <= MAX_NAMED_RUNS:
        named = list(runs)
    middle = math.sqrt(min(costs) * max(costs))
    for run in named:
        _write_name(axes, run, on_the_right=run.multiply_adds < middle)
    _add_legend(axes, runs)


def _prepare_axes(axes: Axes, left: float, right: float) -> None:
    """Make the axis of multiply-adds logarithmic, and say what both axes show."""
    from matplotlib.ticker import LogLocator, NullLocator

    def format_cost(value: float, _place: float) -> str:
        return re.sub(r"\.0+(?= )", "", count(value))

    axes.set_xscale("log")
    axes.set_xlim(left, right)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(format_cost)
    axes.set_xlabel("multiply-adds for one image")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(visible=True)


def _draw_run(axes: Axes, run: ComparedRun) -> None:
    """Draw a run as a point with the 95 % interval of its accuracy."""
    accuracy = 100 * run.test_accuracy
    below = accuracy - 100 * run.test_accuracy_low
    above = 100 * run.test_accuracy_high - accuracy
    colour = SOFT
    face = "none"
    if run.front:
        colour = BLUE
        face = BLUE
    axes.errorbar(
        run.multiply_adds,
        accuracy,
        [[below], [above]],
        fmt=MARKERS[run.cheaper_by],
        color=colour,
        markerfacecolor=face,
        elinewidth=0.8,
    )


def _draw_front(axes: Axes, runs: Sequence[ComparedRun], right: float) -> None:
    """Draw a step at each run of the front, and the last one's accuracy up to the right edge."""
    costs: list[float] = []
    accuracies = []
    for run in runs:
        costs.append(run.multiply_adds)
        accuracies.append(100 * run.test_accuracy)
    costs.append(right)
    accuracies.append(accuracies[-1])
    axes.step(
        costs,
        accuracies,
        where="post",
        color=BLUE,
        linewidth=1,
    )


def _write_name(axes: Axes, run: ComparedRun, *, on_the_right: bool) -> None:
    """Write the run's name beside its point: above it to the right, or below it to the left."""
    offset = (-6, -4)
    side = "right"
    base = "top"
    if on_the_right:
        offset = (6, 4)
        side = "left"
        base = "bottom"
    axes.annotate(
        printable(Path(run.run).name),
        (run.multiply_adds, 100 * run.test_accuracy),
        offset,
        textcoords="offset points",
        ha=side,
        va=base,
        fontsize=8,
        color=INK,
    )


def _add_legend(axes: Axes, runs: Sequence[ComparedRun]) -> None:
    """Explain the markers where there are two of them."""
    reasons = sorted({run.cheaper_by for run in runs})
    if len(reasons) == 1:
        return
    for reason in reasons:
        marker = MARKERS[reason]
        label = f"cheaper by {reason}"
        axes.plot(
            [],
            [],
            marker,
            color=SOFT,
            markerfacecolor="none",
            label=label,
        )
    axes.legend(loc="lower right")
