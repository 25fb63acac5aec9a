"""`epochal lr-plan`: the learning rate of a configuration over its epochs, before training."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from epochal.app.commands.arguments import TRAIN_FLAGS, add_settings, resolve_config
from epochal.app.commands.console import Parser, load_tensorflow, say
from epochal.app.config import Config
from epochal.app.store.files import check_new_png
from epochal.app.units import number_of

_DESCRIPTION = """\
The learning rate of a configuration, epoch by epoch, before anything is trained.

  epochal lr-plan --epochs 30 --schedule.shape cosine --schedule.warm-up 2
  epochal lr-plan --recipe cifar10-resnet20-short --plot FILE.png

Every option of `epochal train` that makes a configuration, and:
"""
_LINES = 40  # of the table, at most
_POINTS = 2000  # of the curve, at most: two for each pixel
# An epoch has so many steps, as far as it matters, where nothing is counted in steps.
_STEPS = 1000


def _answer(config: Config, plot: Path | None) -> str:
    """Return the table, and draw the curve."""
    from epochal.app.training.optimizers import chosen_optimizer
    from epochal.app.training.step.learning_rate import arithmetic, shape_of

    chosen_optimizer(config)  # refuses options that it does not have
    counted = config.schedule.unit == "steps" or config.schedule.window is not None
    steps = _steps_of_an_epoch(config) if counted else _STEPS
    shape = shape_of(config, steps)

    def rate(step: int) -> float:
        return config.peak_rate * shape(step)

    epochs = number_of(config.epochs, "epoch")
    title = f"{config.schedule.shape}, {epochs}, learning rate {arithmetic(config)}"
    for remark in _remarks(config):
        say(remark)
    if plot:
        _draw(
            plot,
            rate,
            config.epochs * steps,
            steps,
            title,
        )
        say(f"drawn in {plot}")
    return "\n".join([title, *_table(rate, config.epochs, steps)])


def _remarks(config: Config) -> list[str]:
    """Return what may make the course another one."""
    remarks = []
    if config.budget:
        remarks.append(
            f"with a budget of {config.budget} this course follows the clock: epochs are its "
            "proportions alone"
        )
    if config.schedule.shape in ("plateau", "stuck"):
        remarks.append(
            f"{config.schedule.shape} drops the rate when training says so: this is the course "
            "without a drop"
        )
    if config.nan_policy == "rollback":
        remarks.append(
            "each rollback divides the rates that follow it by ten: this is the course without one"
        )
    return remarks


def _steps_of_an_epoch(config: Config) -> int:
    from epochal.app.data.load import load

    return math.ceil(len(load(config).train) / config.batch_size)


def _table(rate: Callable[[int], float], epochs: int, steps: int) -> list[str]:
    """Return the rate at the first and the last step of each epoch, or of some of many epochs."""
    lines = ["epoch   begins at     ends at"]
    for epoch in _spread(epochs, _LINES):
        first = rate(epoch * steps)
        last = rate((epoch + 1) * steps - 1)
        lines.append(f"{epoch + 1:5d}  {first:10.4g}  {last:10.4g}")
    return lines


def _spread(count: int, most: int) -> list[int]:
    """Return about `most` numbers from 0 to below `count` at equal distances, and the last one."""
    distance = math.ceil(count / most)
    return sorted({*range(0, count, distance), count - 1})


def _draw(path: Path, rate: Callable[[int], float], total: int, steps: int, title: str) -> None:
    from epochal.app.evaluation.figures import BLUE, new_figure, png, style
    from epochal.app.store import files

    places = _spread(total, _POINTS)
    rates = [rate(step) for step in places]
    with style():
        figure = new_figure(7.2, 3.0)
        axes: Any = figure.add_subplot()
        axes.plot([step / steps for step in places], rates, color=BLUE)
        axes.set(
            xlabel="epochs",
            ylabel="learning rate",
            title=title,
            xlim=(0, total / steps),
        )
        axes.set_ylim(0, max(rates) * 1.05)
        axes.grid(axis="y")
        files.write_bytes(path, png(figure))


def run(words: list[str], verbosity: int) -> int:
    """Parse, call, print; return the exit code."""
    parser = Parser("epochal lr-plan", _DESCRIPTION, foreign=TRAIN_FLAGS)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="FILE.png",
        help="draw it, too",
    )
    add_settings(parser, in_help=False)
    arguments = parser.parse_args(words)
    check_new_png(arguments.plot)
    config = resolve_config(arguments)
    load_tensorflow(verbosity)
    print(_answer(config, arguments.plot))
    return 0
