"""The losses over the iterations, from what `LossCurves` found."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, svg
from epochal.app.evaluation.plots import LOG_SPAN
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.record import read_json
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def losses(run: Run) -> Section | None:
    """Return the section, or None where no iteration was logged.

    It shows the training loss raw and smoothed, the validation loss, the drops of the learning rate
    and the epoch from which the validation loss rises.
    """
    path = run.losses_file
    if not path.exists():
        return None
    curves = read_json(path)
    if not curves["iterations"]:
        return None
    title = "Losses over the iterations"
    figure = svg((9.6, 4.2), partial(draw_losses, curves=curves), title)
    return Section(title=title, text=_text(curves), figures=(figure,))


def _text(curves: dict[str, Any]) -> str:
    """Return the distance of validation from training at the end, and whether validation rose."""
    validation = curves["validation"]["losses"]
    if not validation:
        return "No validation loss was logged."
    difference = validation[-1] - curves["smoothed"][-1]
    side = "below"
    if difference > 0:
        side = "above"
    gap = f"At the end it lies {abs(difference):.3g} {side} the smoothed training loss."
    rises = curves["rises"]
    if not rises:
        return f"The validation loss shows no lasting rise. {gap}"
    return (
        f"The validation loss rises for good after epoch {rises['epoch']}: from there on training "
        f"fits its own images alone. {gap} Stronger augmentation or weight decay, more images or "
        "fewer epochs would help."
    )


def draw_losses(axes: Axes, curves: dict[str, Any]) -> None:
    """Draw the curves of `losses.json`."""
    iterations = curves["iterations"]
    axes.plot(
        iterations,
        curves["raw"],
        color=VERMILLION,
        alpha=0.35,
        linewidth=0.8,
        label="training, raw",
    )
    axes.plot(
        iterations,
        curves["smoothed"],
        color=VERMILLION,
        linewidth=2,
        label="training, smoothed",
    )
    validation = curves["validation"]
    if validation["losses"]:
        marker = ""
        if len(validation["losses"]) <= 40:
            marker = "o"
        axes.plot(
            validation["iterations"],
            validation["losses"],
            color=BLUE,
            marker=marker,
            label="validation",
        )
    dots: Any = (0, (1, 2))
    label = "learning rate drops"
    for iteration in curves["drops"]:
        axes.axvline(
            iteration,
            color=SOFT,
            linewidth=1,
            linestyle=dots,
            label=label,
        )
        # Matplotlib leaves labels that begin with _ out of the legend, which names the drops once.
        label = "_"
    rises = curves["rises"]
    if rises:
        label = f"validation rises after epoch {rises['epoch']}"
        axes.axvline(
            rises["iteration"],
            color=BLUE,
            linewidth=1.2,
            linestyle="--",
            label=label,
        )
    _scale(axes, np.array([*curves["smoothed"], *validation["losses"]], np.float64))
    axes.legend(labelcolor=SOFT)


def _scale(axes: Axes, shown: np.ndarray) -> None:
    """Scale to the smoothed losses: the raw ones of the first steps would squeeze the rest."""
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
