"""The drawing of `LossCurves`."""

from typing import Any

import numpy as np

_TRAINING = "#d55e00"
_VALIDATION = "#0a68b4"


def draw_losses(axes: Any, curves: dict[str, Any]) -> None:
    """Draw the curves that `read_curves` returned into the axes of a figure."""
    _draw_training(axes, curves)
    validation = curves["validation"]
    if validation["losses"]:
        axes.plot(
            validation["iterations"],
            validation["losses"],
            color=_VALIDATION,
            linewidth=2,
            marker=".",
            label="validation",
        )
    for place, iteration in enumerate(curves["drops"]):
        # One entry of the legend for all.
        label = "learning rate drops" if place == 0 else None
        axes.axvline(
            iteration,
            color="0.4",
            linestyle=":",
            label=label,
        )
    rises = curves["rises"]
    if rises:
        label = f"validation rises after epoch {rises['epoch']}"
        axes.axvline(
            rises["iteration"],
            color=_VALIDATION,
            linestyle="--",
            label=label,
        )
    losses = np.array([*curves["smoothed"], *validation["losses"]], np.float64)
    losses = losses[np.isfinite(losses)]
    if losses.size and losses.min() > 0 and losses.max() > 50 * losses.min():
        axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        axes.legend()


def _draw_training(axes: Any, curves: dict[str, Any]) -> None:
    iterations = curves["iterations"]
    if not iterations:
        return
    axes.plot(
        iterations,
        curves["raw"],
        color=_TRAINING,
        alpha=0.3,
        linewidth=0.8,
        label="training, raw",
    )
    axes.plot(
        iterations,
        curves["smoothed"],
        color=_TRAINING,
        linewidth=2,
        marker="." if len(iterations) == 1 else "",  # a line would not show a single point
        label="training, smoothed",
    )
