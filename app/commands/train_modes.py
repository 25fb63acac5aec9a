"""Modes of `epochal train` that try a configuration out before a run, and print how it went."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from epochal.app.commands.console import say
from epochal.app.config import Config
from epochal.app.errors import TrainingFailed

if TYPE_CHECKING:
    from epochal.app.doctor.memorize import Rung


def overfit(config: Config, batches: int) -> None:
    """Train on a few batches; print whether they were memorised, the loss and the steps."""
    from epochal.app.doctor import memorize

    images, learned = memorize.overfit(config, batches)
    print(
        f"memorised {images} images in {learned.steps} steps: accuracy {learned.accuracy:.0%}, "
        f"loss {learned.loss:.3g}"
    )


def ladder(config: Config) -> None:
    """Climb the ladder of samples and print it.

    Raises:
        TrainingFailed: when validation never beats chance.
    """
    from epochal.app.doctor import memorize

    print_ladder(memorize.climb_ladder(config))


def print_ladder(rungs: Iterable["Rung"]) -> None:
    """Print a table, a line as soon as it is known.

    Raises:
        TrainingFailed: when validation never beats chance.
    """
    print(f"{'images':>8}  {'steps':>6}  {'loss':>8}  {'train':>6}  {'validation':>10}")
    climbed = []
    for rung in rungs:
        climbed.append(rung)
        print(_row(rung), flush=True)
    print(_verdict(climbed))


def _row(rung: "Rung") -> str:
    learned = rung.learned
    remark = ""
    if not learned.by_heart:
        remark = "  not memorised"
    return (
        f"{rung.images:>8,}  {learned.steps:>6,}  {learned.loss:8.3g}  {rung.train_accuracy:6.1%}"
        f"  {rung.validation_accuracy:10.1%}{remark}"
    )


def _verdict(climbed: Sequence["Rung"]) -> str:
    """Return from which rung on the model generalises."""
    bound = f"chance and three sigma are {climbed[0].bound:.1%}"
    for rung in climbed:
        if rung.generalises:
            accuracy = f"{rung.validation_accuracy:.1%}"
            return f"generalises from {rung.images:,} images on: validation {accuracy}, {bound}"
    raise TrainingFailed(
        f"does not generalise from {climbed[-1].images:,} images ({bound}); run epochal doctor"
    )


def pilot(config: Config) -> Config:
    """Return the configuration of the pilot, and say how it differs.

    Raises:
        UsageError: when the model has no smaller sibling.
    """
    from epochal.app.training.run.pilot import changes, pilot

    smaller = pilot(config)
    lines = ["pilot:"]
    for change in changes(config, smaller):
        lines.append(f"  {change}")
    say("\n".join(lines))
    return smaller
