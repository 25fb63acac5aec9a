"""`epochal lr-find`: short trainings at a range of learning rates, and the one to begin with."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say, whole_number
from epochal.app.config import Config
from epochal.app.store.files import check_new_png

if TYPE_CHECKING:
    from epochal.app.training.probes.rate_sweep import Course, Start

_DESCRIPTION = """\
Trains a few steps at each of twelve learning rates, from the same weights on the same batches, and
stores nothing.

  epochal lr-find --dataset mnist --model lenet5
  epochal lr-find --recipe cifar10-resnet20 --steps 50 --plot FILE.png

Every option of `epochal train` that makes a configuration, and:
"""


def make_parser() -> Parser:
    """Return the parser of `epochal lr-find`: its own options and a flag for each setting."""
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
    return parser


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    arguments = make_parser().parse_args(words)
    check_new_png(arguments.plot)
    # Imported late: help needs no NumPy.
    from epochal.app.data.availability import check_data

    config = check_data(resolve_config(arguments))
    say(f"epochal lr-find: {config.model} on {config.dataset}; loading TensorFlow ...")
    load_tensorflow(verbosity)
    from epochal.app.evaluation.rate_plots import sweep_png
    from epochal.app.training.probes.rate_sweep import suggested, sweep

    courses, begun = sweep(config, arguments.steps)
    rate = suggested(courses)
    if arguments.plot:
        sweep_png(arguments.plot, courses, rate)
        say(f"drawn in {arguments.plot}")
    for remark in _remarks(config, begun):
        say(remark)
    _print_table(courses)
    print(f"suggested: --learning-rate {rate:.2g}")
    return 0


def _steps(text: str) -> int:
    return whole_number(text, 2, "a number of steps from 2")


def _remarks(config: Config, begun: "Start") -> list[str]:
    """Return what the figures before any step, and the schedule, say about the rate."""
    from epochal.app.training.probes.curvature import suggest_rate

    remarks = []
    if begun.curvature > 0:
        fastest = suggest_rate(begun.curvature)
        remarks.append(
            f"largest curvature before training {begun.curvature:.3g}: plain gradient descent is "
            f"fastest along it at {fastest:.2g} and bears {2 * fastest:.2g}"
        )
    if begun.noise:
        remarks.append(_describe_noise(begun.noise.scale, begun.batch))
    if config.optimizer == "sgd":
        remarks.append(
            "steps and one_cycle bear the suggested rate at their peak; without warm-up, take a "
            "half of it"
        )
    return remarks


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


def _print_table(courses: Sequence["Course"]) -> None:
    """Print rate, loss at the end and label of every course."""
    print(f"{'rate':>9}  {'final loss':>10}  (before: {courses[0].before:.3f})")
    for course in courses:
        print(f"{course.rate:9.2g}  {course.final:10.4g}  {course.label}")
