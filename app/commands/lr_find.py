"""`epochal lr-find`: short trainings at a range of learning rates, labelled, and the one to begin with."""

import math
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.data.availability import check_data
from epochal.app.store.files import check_new_png

if TYPE_CHECKING:
    from epochal.app.training.probes.rate_sweep import Course

_DESCRIPTION = """\
Trains a few steps at each of twelve learning rates, from the same weights on the same batches, and stores nothing.

  epochal lr-find --dataset mnist --model lenet5
  epochal lr-find --recipe cifar10-resnet20 --steps 50 --plot FILE.png

Every option of `epochal train` that makes a configuration, and:
"""
_MARKERS = {"too low": "<", "good": "o", "too high": ">", "diverged": "x"}


def _steps(text: str) -> int:
    if not text.isdigit() or int(text) < 2:
        raise ArgumentTypeError(f"expected a number of steps from 2, got {text}")
    return int(text)


def answer(config: Config, steps: int, plot: Path | None) -> str:
    """The text to print."""
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
            f"largest curvature before training {begun.curvature:.3g}: plain gradient descent is fastest along it at "
            f"{fastest:.2g} and bears {2 * fastest:.2g}"
        )
    if begun.noise:
        say(_noise(begun.noise.scale, config.batch_size))
    if config.optimizer == "sgd":
        say(
            "steps and one_cycle bear the suggested rate at their peak; without warm-up, take a half of it"
        )
    return "\n".join([*_table(courses), f"suggested: --learning-rate {rate:.2g}"])


def _noise(scale: float, batch: int) -> str:
    """What the noise of gradients says about the batch."""
    if math.isinf(scale):
        return f"gradient noise before training: it hides the gradient of batches of {batch:,}; larger ones would help"
    return (
        f"gradient noise before training: {math.sqrt(scale / batch):.2g} times the gradient's length in a batch of "
        f"{batch:,}, equal to it in one of {max(1, scale):,.0f}; it grows as training goes on"
    )


def _table(courses: Sequence["Course"]) -> list[str]:
    """Rate, loss at the end and label of every course."""
    head = f"{'rate':>9}  {'final loss':>10}  (before: {courses[0].before:.3f})"
    return [
        head,
        *(f"{course.rate:9.2g}  {course.final:10.4g}  {course.label}" for course in courses),
    ]


def _draw(path: Path, courses: Sequence["Course"], rate: float) -> None:
    """The courses' final losses over their rates, the regions named."""
    from epochal.app.evaluation.figures import BLUE, SOFT, VERMILLION, new_figure, png, style
    from epochal.app.store import files as storage

    with style():
        figure = new_figure(7.2, 3.4)
        axes: Any = figure.add_subplot()
        before = courses[0].before
        colours = {"good": BLUE, "diverged": VERMILLION}
        shown = [min(course.final, 1.5 * before) for course in courses]
        axes.plot([course.rate for course in courses], shown, color=SOFT, linewidth=1)
        for label in dict.fromkeys(course.label for course in courses):
            chosen = [
                (course.rate, value)
                for course, value in zip(courses, shown, strict=True)
                if course.label == label
            ]
            axes.plot(
                *zip(*chosen, strict=True),
                _MARKERS[label],
                color=colours.get(label, SOFT),
                label=label,
            )
        axes.axvline(rate, color=BLUE, linestyle=":", linewidth=1.2)
        axes.axhline(before, color=SOFT, linestyle="--", linewidth=0.8)
        axes.annotate(
            f"suggested {rate:.2g}",
            (rate, 1.5 * before),
            xytext=(5, -8),
            textcoords="offset points",
        )
        axes.annotate(
            "before training", (courses[0].rate, before), xytext=(0, 4), textcoords="offset points"
        )
        axes.set(
            xscale="log",
            xlabel="learning rate",
            ylabel="loss at the end",
            title="Short trainings at each rate",
        )
        axes.set_ylim(0, 1.55 * before)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="lower left")
        storage.write_bytes(path, png(figure))


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    parser = Parser("epochal lr-find", _DESCRIPTION, foreign=TRAIN_FLAGS)
    parser.add_argument("--steps", type=_steps, default=100, help="of each training (100)")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw it, too")
    add_settings(parser, in_help=False)
    arguments = parser.parse_args(words)
    check_new_png(arguments.plot)
    config = check_data(resolve_config(arguments))
    say(f"epochal lr-find: {config.model} on {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    print(answer(config, arguments.steps, arguments.plot))
    return 0
