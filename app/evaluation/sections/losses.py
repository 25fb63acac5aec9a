"""The losses over the iterations, from what `LossCurves` found."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, svg
from epochal.app.evaluation.plots import LOG_SPAN
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def losses(run: Run) -> Section | None:
    """Training loss raw and smoothed, validation loss, drops of the rate, and whether validation came to rise."""
    path = run.losses_file
    if not path.exists():
        return None
    found = json.loads(path.read_text())
    if not found["iterations"]:
        return None
    figure = svg((9.6, 4.2), partial(draw_losses, found=found), "Losses over the iterations")
    return Section(
        title="Losses over the iterations",
        text=_text(found),
        figures=(figure,),
    )


def _text(found: dict[str, Any]) -> str:
    validation = found["validation"]["losses"]
    rises = found["rises"]
    if not validation:
        return "No validation loss was logged."
    apart = validation[-1] - found["smoothed"][-1]
    gap = f"At the end it lies {abs(apart):.3g} {'above' if apart > 0 else 'below'} the smoothed training loss."
    if rises:
        return (
            f"The validation loss rises for good after epoch {rises['epoch']}: from there on training fits its own "
            f"images alone. {gap} Stronger augmentation or weight decay, more images or fewer epochs would help."
        )
    return f"The validation loss shows no lasting rise. {gap}"


def draw_losses(axes: Axes, found: dict[str, Any]) -> None:
    """Draws what `losses.json` holds."""
    iterations = found["iterations"]
    validation = found["validation"]
    axes.plot(
        iterations, found["raw"], color=VERMILLION, alpha=0.35, linewidth=0.8, label="training, raw"
    )
    axes.plot(
        iterations, found["smoothed"], color=VERMILLION, linewidth=2, label="training, smoothed"
    )
    if validation["losses"]:
        marker = "o" if len(validation["losses"]) <= 40 else ""
        axes.plot(
            validation["iterations"],
            validation["losses"],
            color=BLUE,
            marker=marker,
            label="validation",
        )
    dots: Any = (0, (1, 2))
    for place, iteration in enumerate(found["drops"]):
        label = "_" if place else "learning rate drops"
        axes.axvline(
            iteration,
            color=SOFT,
            linewidth=1,
            linestyle=dots,
            label=label,
        )
    if found["rises"]:
        label = f"validation rises after epoch {found['rises']['epoch']}"
        axes.axvline(
            found["rises"]["iteration"], color=BLUE, linewidth=1.2, linestyle="--", label=label
        )
    _scale(axes, np.array([*found["smoothed"], *validation["losses"]], np.float64))
    axes.legend(labelcolor=SOFT)


def _scale(axes: Axes, shown: np.ndarray) -> None:
    """Up to a little above what counts: the raw losses of the first steps would squeeze the rest."""
    from matplotlib.ticker import NullFormatter

    axes.set_xlabel("iteration")
    axes.set_ylabel("loss (nats)")
    axes.grid(axis="y")
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() > 0 and shown.max() > LOG_SPAN * shown.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif shown.size:
        axes.set_ylim(min(0.0, shown.min()), 1.15 * shown.max() or 1)
