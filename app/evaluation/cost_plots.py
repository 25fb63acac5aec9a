"""Cost plots: what each part of a model costs, and finished runs by accuracy and cost, as PNG files.

Their look is in `figures`; Matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.app.evaluation.cost_tables import heading
from epochal.app.evaluation.figures import BLUE, INK, SOFT, new_figure, png, printable, style
from epochal.app.store import files as storage
from epochal.app.units import count, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from epochal.app.evaluation.pareto import Placed
    from epochal.models.complexity import LayerCost, ModelCost

MOST = 25  # bars
VISIBLE = 0.005  # of the whole: what rounds to a percent
NAMED = 6  # up to so many runs each has its name beside it, else those of the front
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
    """Writes multiply-adds, parameters and activations kept for training, each as bars down the network's parts."""
    parts = parts_of(cost.layers)
    panels = {
        f"Multiply-adds: {count(cost.multiply_adds)}": [part.multiply_adds for part in parts],
        f"Parameters: {count(cost.params)}": [part.params for part in parts],
        f"Kept for training: {size(cost.kept_bytes)}": [part.kept_bytes for part in parts],
    }
    with style():
        figure = new_figure(9.6, 1.2 + 0.25 * len(parts))
        figure.suptitle(
            heading(cost),
            x=0.01,
            ha="left",
            color=SOFT,
            fontsize=9.5,
        )
        for axes, (title, values) in zip(
            figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True
        ):
            _draw_bars(axes, parts, values)
            axes.set_title(title)
        storage.write_bytes(path, png(figure))


def parts_of(layers: Sequence[LayerCost]) -> list[Part]:
    """The layers by how their names begin, in as many parts as `MOST` allows.

    Left out is what has no weights and keeps next to nothing for training.
    """
    names = _units(layers)
    for depth in range(max(name.count("_") for name in names) + 1, 0, -1):
        parts = _summed(layers, ["_".join(name.split("_")[:depth]) for name in names])
        if len(parts) <= MOST:
            break
    return parts


def _units(layers: Sequence[LayerCost]) -> list[str]:
    """What each layer belongs to: its name without the last word, which says what it does there.

    A layer that has no name but the one that Keras made up belongs to the next that has one.
    """
    units: list[str] = []
    unit = ""
    for layer in reversed(layers):
        if not unit or not _is_named_by_keras(layer):
            head, _, tail = layer.name.rpartition("_")
            unit = layer.name if tail.isdigit() or not head else head
        units.append(unit)
    return units[::-1]


def _is_named_by_keras(layer: LayerCost) -> bool:
    """`batch_normalization_3` of BatchNormalization, also of our own version of it."""
    return (
        re.sub(r"_\d+$", "", layer.name).replace("_", "")
        == layer.kind.removeprefix("Fused").lower()
    )


def _summed(layers: Sequence[LayerCost], names: Iterable[str]) -> list[Part]:
    """A part a name; one that goes on from the name before it, as `c5_dense` does from `c5`, belongs to that one."""
    sums: dict[str, list[int]] = {}
    last = ""
    for layer, name in zip(layers, names, strict=True):
        last = last if last and name.startswith(f"{last}_") else name
        figures = layer.multiply_adds, layer.params, layer.kept_bytes
        sums[last] = [sum(pair) for pair in zip(sums.get(last, (0, 0, 0)), figures, strict=True)]
    least = VISIBLE * sum(layer.kept_bytes for layer in layers)
    return [
        Part(
            name=name,
            multiply_adds=multiply_adds,
            params=params,
            kept_bytes=kept_bytes,
        )
        for name, (multiply_adds, params, kept_bytes) in sums.items()
        if multiply_adds or params or kept_bytes > least
    ]


def _draw_bars(axes: Axes, parts: Sequence[Part], values: Sequence[int]) -> None:
    """A bar a part, its share of the whole behind it."""
    places = range(len(parts))
    total = sum(values) or 1
    longest = max(values, default=0) or 1
    axes.barh(places, values, height=0.72, color=BLUE)
    for place, value in zip(places, values, strict=True):
        share = (
            f"{100 * value / total:.0f} %" if value >= VISIBLE * total else "< 1 %" if value else ""
        )
        axes.text(
            value + 0.015 * longest,
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


def pareto_png(path: Path, placed: Sequence[Placed]) -> None:
    """Writes test accuracy against multiply-adds, a panel a data set; a line joins the runs that no other one beats."""
    datasets = list(dict.fromkeys(run.dataset for run in placed))
    with style():
        figure = new_figure(7.2, 0.4 + 3.8 * len(datasets))
        for place, dataset in enumerate(datasets, start=1):
            runs = [run for run in placed if run.dataset == dataset]
            _draw_front(figure.add_subplot(len(datasets), 1, place), dataset, runs)
        storage.write_bytes(path, png(figure))


def _draw_front(axes: Axes, dataset: str, runs: Sequence[Placed]) -> None:
    """Runs of one data set with their 95 % intervals; those of the front are full and joined by steps."""
    from matplotlib.ticker import LogLocator, NullLocator

    costs = [run.multiply_adds for run in runs]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / MARGIN, max(costs) * MARGIN)
    for run in runs:
        low, accuracy, high = (
            100 * x for x in (run.test_accuracy_low, run.test_accuracy, run.test_accuracy_high)
        )
        colour = BLUE if run.front else SOFT
        face = BLUE if run.front else "none"
        point = (run.multiply_adds, accuracy)
        around = [[accuracy - low], [high - accuracy]]
        axes.errorbar(
            *point,
            around,
            fmt=MARKERS[run.cheaper_by],
            color=colour,
            markerfacecolor=face,
            elinewidth=0.8,
        )
    best = [run for run in runs if run.front]
    steps = [(run.multiply_adds, 100 * run.test_accuracy) for run in best]
    axes.step(
        *zip(*steps, (max(costs) * MARGIN, steps[-1][1]), strict=True),
        where="post",
        color=BLUE,
        linewidth=1,
    )
    for run in runs if len(runs) <= NAMED else best:
        _name(axes, run, right=run.multiply_adds**2 < min(costs) * max(costs))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: re.sub(r"\.0+(?= )", "", count(value)))
    axes.set_title(f"{printable(dataset)}: {len(runs)} run{'s' if len(runs) > 1 else ''}")
    axes.set_xlabel("multiply-adds for one image")
    axes.set_ylabel("test accuracy (%)")
    axes.grid(visible=True)
    for way in sorted(ways) if len(ways := {run.cheaper_by for run in runs}) > 1 else []:
        axes.plot(
            [], [], MARKERS[way], color=SOFT, markerfacecolor="none", label=f"cheaper by {way}"
        )
        axes.legend(loc="lower right")


def _name(axes: Axes, run: Placed, *, right: bool) -> None:
    """The run's name beside its point, towards the middle of the plot: above it on the left, below it on the right."""
    axes.annotate(
        printable(Path(run.run).name),
        (run.multiply_adds, 100 * run.test_accuracy),
        (6 if right else -6, 4 if right else -4),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if right else "top",
        fontsize=8,
        color=INK,
    )
