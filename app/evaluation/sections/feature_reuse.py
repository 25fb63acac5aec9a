"""Feature reuse: the weights with which layers of dense blocks take in what earlier layers made."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from epochal.app.evaluation.figures import clear_blue, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A mean below it counts as none: that of a layer whose weights decayed to zeros.
_LEAST_MEAN = 1e-12


def feature_reuse(run: Run) -> Section | None:
    """Return a heat-map for each dense block, or None where the model has none."""
    blocks = run.feature_reuse()
    if not blocks:
        return None
    means = []
    figures = []
    for number, block in enumerate(blocks, start=1):
        means.append(np.array(block["means"], float))
        title = f"Dense block {number}"
        draw = partial(_draw, means=means[-1], title=title)
        figures.append(svg((3.3, 2.9), draw, title))
    ratio = _older_to_newer(means)
    text = (
        "The mean absolute weight with which each layer of a dense block (across; the last one is "
        "what follows the block) takes in what each earlier one made (upwards; 0 is the block's "
        "input): the more, the bluer, of each layer's largest. For the median layer the older half "
        f"of its sources counts {ratio:.2f} times as much as the newer half."
    )
    return Section(
        title="Reuse of features",
        text=text,
        figures=tuple(figures),
    )


def _older_to_newer(blocks: Sequence[np.ndarray]) -> float:
    """Return the median over layers of the older sources' mean weight by that of the newer ones."""
    ratios = []
    for block in blocks:
        for row in block:
            sources = row[~np.isnan(row)]
            half = len(sources) // 2
            older = sources[:half].mean()
            newer = sources[half:].mean()
            ratios.append(older / max(newer, _LEAST_MEAN))
    return float(np.median(ratios))


def _draw(axes: Axes, means: np.ndarray, title: str) -> None:
    """Draw the mean weights `[layers, sources]` of a block, layers across."""
    from matplotlib.ticker import MaxNLocator

    targets, sources = means.shape
    largest = np.nanmax(means, axis=1, keepdims=True)
    shares = means / np.maximum(largest, _LEAST_MEAN)
    left = 1.5
    right = targets + 1.5
    bottom = -0.5
    top = sources - 0.5
    axes.imshow(
        shares.T,
        cmap=clear_blue(most=0.9),
        vmin=0,
        vmax=1,
        aspect="auto",
        origin="lower",
        extent=(left, right, bottom, top),
        interpolation="none",
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_title(title, fontsize=9.5)
    axes.set_xlabel("layer")
    axes.set_ylabel("source")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
