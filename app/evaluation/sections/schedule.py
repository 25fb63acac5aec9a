"""The learning rate as the run was trained, from its log of iterations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from epochal.app.evaluation.figures import BLUE, svg
from epochal.app.evaluation.plots import LOG_SPAN
from epochal.app.evaluation.sections.layers import lines_of
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def schedule(run: Run) -> Section | None:
    """Return the section, or None where fewer than two iterations were logged."""
    lines = []
    for line in lines_of(run.iterations_log):
        if "loss" in line:
            lines.append(line)
    if len(lines) < 2:
        return None
    iterations = [line["iteration"] for line in lines]
    rates = [line["learning_rate"] for line in lines]
    draw = partial(_draw, iterations=iterations, rates=rates)
    figure = svg((9.6, 2.8), draw, "Learning rate over the iterations")
    return Section(title="Schedule", text=_text(rates), figures=(figure,))


def _text(rates: list[float]) -> str:
    if min(rates) == max(rates):
        return f"The learning rate was {rates[0]:.3g} throughout."
    return (
        f"The learning rate as trained: {rates[0]:.3g} at first, {max(rates):.3g} at its highest, "
        f"{rates[-1]:.3g} at last."
    )


def _draw(axes: Axes, iterations: list[int], rates: list[float]) -> None:
    """Draw the rate of each iteration, on a logarithmic axis where it spans far."""
    axes.plot(
        iterations,
        rates,
        color=BLUE,
        drawstyle="steps-pre",
    )
    axes.set_xlabel("iteration")
    axes.set_ylabel("learning rate")
    axes.grid(axis="y")
    if min(rates) > 0 and max(rates) > LOG_SPAN * min(rates):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(0, 1.1 * max(rates) or 1)
