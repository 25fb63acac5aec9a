"""Plots of learning rates: the course that a configuration lays out, and a sweep over rates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, new_figure, png, style
from epochal.app.store.files import write_bytes

_MARKERS = {"too low": "<", "good": "o", "too high": ">", "diverged": "x"}
_COLOURS = {"good": BLUE, "diverged": VERMILLION}
# Losses above so many times the loss before training are drawn at that height.
_HIGHEST = 1.5


class ShortTraining(Protocol):
    """A training of a few steps at one rate: the loss before it and at its end, and its label."""

    @property
    def rate(self) -> float:
        """The learning rate."""

    @property
    def before(self) -> float:
        """The loss before the first step."""

    @property
    def final(self) -> float:
        """The loss at the end; infinite where it is not finite."""

    @property
    def label(self) -> str:
        """Too low, good, too high or diverged."""


def plan_png(path: Path, curve: Sequence[tuple[float, float]], epochs: int, title: str) -> None:
    """Draw a rate over the epochs of a run; `curve` holds (epochs since the start, rate)."""
    places, rates = zip(*curve, strict=True)
    with style():
        figure = new_figure(7.2, 3.0)
        axes: Any = figure.add_subplot()
        axes.plot(places, rates, color=BLUE)
        axes.set(
            xlabel="epochs",
            ylabel="learning rate",
            title=title,
            xlim=(0, epochs),
        )
        axes.set_ylim(0, max(rates) * 1.05)
        axes.grid(axis="y")
        write_bytes(path, png(figure))


def sweep_png(path: Path, courses: Sequence[ShortTraining], suggested: float) -> None:
    """Draw the losses that short trainings end with over their rates, and the suggested rate."""
    before = courses[0].before
    highest = _HIGHEST * before
    with style():
        figure = new_figure(7.2, 3.4)
        axes: Any = figure.add_subplot()
        _draw_courses(axes, courses, highest)
        axes.axvline(suggested, color=BLUE, linestyle=":", linewidth=1.2)
        axes.axhline(before, color=SOFT, linestyle="--", linewidth=0.8)
        _annotate(
            axes,
            f"suggested {suggested:.2g}",
            (suggested, highest),
            (5, -8),
        )
        _annotate(
            axes,
            "before training",
            (courses[0].rate, before),
            (0, 4),
        )
        axes.set(
            xscale="log",
            xlabel="learning rate",
            ylabel="loss at the end",
        )
        axes.set_title("Short trainings at each rate")
        axes.set_ylim(0, 1.55 * before)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="lower left")
        write_bytes(path, png(figure))


def _draw_courses(axes: Any, courses: Sequence[ShortTraining], highest: float) -> None:
    """Draw a line through all courses and a marker for each; a label enters the legend once."""
    rates = [course.rate for course in courses]
    losses = [min(course.final, highest) for course in courses]
    axes.plot(rates, losses, color=SOFT, linewidth=1)
    in_legend = set()
    for course, loss in zip(courses, losses, strict=True):
        label = course.label
        colour = _COLOURS.get(label, SOFT)
        (marker,) = axes.plot(
            course.rate,
            loss,
            _MARKERS[label],
            color=colour,
        )
        if label not in in_legend:
            marker.set_label(label)
            in_legend.add(label)


def _annotate(axes: Any, text: str, place: tuple[float, float], shift: tuple[int, int]) -> None:
    """Write beside a place of the plot, shifted by points."""
    axes.annotate(text, place, xytext=shift, textcoords="offset points")
