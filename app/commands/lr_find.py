"""`epochal lr-find`: short trainings at a range of learning rates, and the one to begin with."""

import math
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.store.files import check_new_png

if TYPE_CHECKING:
    from epochal.app.training.probes.rate_sweep import Course

_DESCRIPTION = """\
Trains a few steps at each of twelve learning rates, from the same weights on the same batches, and
stores nothing.

  epochal lr-find --dataset mnist --model lenet5
  epochal lr-find --recipe cifar10-resnet20 --steps 50 --plot FILE.png

Every option of `epochal train` that makes a configuration, and:
"""
_MARKERS = {"too low": "<", "good": "o", "too high": ">", "diverged": "x"}


def _steps(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise ArgumentTypeError(f"expected a number of steps from 2, got {text}")
    return int(text)


def _answer(config: Config, steps: int, plot: Path | None) -> str:
    """Return the table and the suggestion, and draw the courses."""
    from epochal.app.training.probes.curvature import suggest_rate
    from epochal.app.training.probes.rate_sweep import suggested, sweep

    courses, begun = sweep(config, steps)
    rate = suggested(courses)
    if plot:
        _draw(plot, courses, rate)
        say(f"drawn in {plot}")
    if begun.curvature > 0:
        fastest = suggest_rate(begun.curvature)
        say(
            f"largest curvature before training {begun.curvature:.3g}: plain gradient descent is "
            f"fastest along it at {fastest:.2g} and bears {2 * fastest:.2g}"
        )
    if begun.noise:
        say(_describe_noise(begun.noise.scale, config.batch_size))
    if config.optimizer == "sgd":
        say(
            "steps and one_cycle bear the suggested rate at their peak; without warm-up, take a "
            "half of it"
        )
    return "\n".join([*_table(courses), f"suggested: --learning-rate {rate:.2g}"])


def _describe_noise(scale: float, batch: int) -> str:
    """Return what the noise of gradients says about the size of the batch."""
    if math.isinf(scale):
        return (
            "gradient noise before training: it hides the gradient of batches of "
            f"{batch:,}; larger ones would help"
        )
    relative = math.sqrt(scale / batch)
    return (
        f"gradient noise before training: {relative:.2g} times the gradient's length in a batch of "
        f"{batch:,}, equal to it in one of {max(1, scale):,.0f}; it grows as training goes on"
    )


def _table(courses: Sequence["Course"]) -> list[str]:
    """Return rate, loss at the end and label of every course."""
    lines = [f"{'rate':>9}  {'final loss':>10}  (before: {courses[0].before:.3f})"]
    for course in courses:
        lines.append(f"{course.rate:9.2g}  {course.final:10.4g}  {course.label}")
    return lines


def _draw(path: Path, courses: Sequence["Course"], rate: float) -> None:
    """Draw the courses' final losses over their rates, the regions named."""
    from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, new_figure, png, style
    from epochal.app.store import files

    before = courses[0].before
    highest = 1.5 * before
    rates = [course.rate for course in courses]
    losses = [min(course.final, highest) for course in courses]
    colours = {"good": BLUE, "diverged": VERMILLION}
    with style():
        figure = new_figure(7.2, 3.4)
        axes: Any = figure.add_subplot()
        axes.plot(rates, losses, color=SOFT, linewidth=1)
        labelled = set()
        for course, loss in zip(courses, losses, strict=True):
            label = course.label
            axes.plot(
                course.rate,
                loss,
                _MARKERS[label],
                color=colours.get(label, SOFT),
                label=None if label in labelled else label,
            )
            labelled.add(label)
        axes.axvline(
            rate,
            color=BLUE,
            linestyle=":",
            linewidth=1.2,
        )
        axes.axhline(
            before,
            color=SOFT,
            linestyle="--",
            linewidth=0.8,
        )
        points = {"textcoords": "offset points"}
        axes.annotate(
            f"suggested {rate:.2g}",
            (rate, highest),
            xytext=(5, -8),
            **points,
        )
        axes.annotate(
            "before training",
            (rates[0], before),
            xytext=(0, 4),
            **points,
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
        files.write_bytes(path, png(figure))


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    parser = Parser("epochal lr-find", _DESCRIPTION, foreign=TRAIN_FLAGS)
    parser.add_argument(
        "--steps",
        type=_steps,
        default=100,
        help="of each training (100)",
    )
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw it, too",
    )
    add_settings(parser, in_help=False)
    arguments = parser.parse_args(words)
    check_new_png(arguments.plot)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(resolve_config(arguments))
    say(f"epochal lr-find: {config.model} on {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    print(_answer(config, arguments.steps, arguments.plot))
    return 0
