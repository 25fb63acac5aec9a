"""Feature reuse: the weights with which layers of dense blocks take in what earlier layers made."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import clear_blue, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEAST = 1e-12  # a mean below it is none: that of a layer whose weights decayed to zeros


def feature_reuse(run: Run) -> Section | None:
    """A heat-map for each dense block, or None where the model has none."""
    blocks = run.feature_reuse()
    if not blocks:
        return None
    means = [np.array(block["means"], float) for block in blocks]
    figures = [
        svg(
            (3.3, 2.9),
            partial(_draw, means=found, title=f"Dense block {number}"),
            f"Dense block {number}",
        )
        for number, found in enumerate(means, start=1)
    ]
    text = (
        "The mean absolute weight with which each layer of a dense block (across; the last one is what follows the "
        "block) takes in what each earlier one made (upwards; 0 is the block's input): the more, the bluer, of each "
        f"layer's largest. {_finding(means)}"
    )
    return Section(
        title="Reuse of features",
        text=text,
        figures=tuple(figures),
    )


def _finding(blocks: Sequence[np.ndarray]) -> str:
    """How much less the older half of its sources counts for a layer than the newer half."""
    rows = [row[~np.isnan(row)] for block in blocks for row in block]
    halves = [(row[: len(row) // 2].mean(), row[len(row) // 2 :].mean()) for row in rows]
    ratio = float(np.median([older / max(newer, _LEAST) for older, newer in halves]))
    return f"For the median layer the older half of its sources counts {ratio:.2f} times as much as the newer half."


def _draw(axes: Axes, means: Any, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    targets, sources = means.shape
    shown = (means / np.maximum(np.nanmax(means, axis=1, keepdims=True), _LEAST)).T
    sides = (1.5, targets + 1.5, -0.5, sources - 0.5)
    blues = clear_blue(most=0.9)
    axes.imshow(
        shown,
        cmap=blues,
        vmin=0,
        vmax=1,
        aspect="auto",
        origin="lower",
        extent=sides,
        interpolation="none",
    )
    axes.set_xlim(sides[:2])
    axes.set_ylim(sides[2:])
    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel("layer")
    axes.set_ylabel("source")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
