"""The modes of `epochal train` that try a configuration out before a run: what they print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from epochal.app.commands.console import say
from epochal.app.config import Config
from epochal.app.errors import TrainingFailed

if TYPE_CHECKING:
    from epochal.app.doctor.memorize import Rung


def overfit(config: Config, batches: int) -> None:
    """Trains on a few batches; prints whether they were memorised, the loss and the steps."""
    from epochal.app.doctor import memorize

    images, learned = memorize.overfit(config, batches)
    print(
        f"memorised {images} images in {learned.steps} steps: accuracy {learned.accuracy:.0%}, loss {learned.loss:.3g}"
    )


def ladder(config: Config) -> None:
    """Climbs the ladder of samples; prints a table, a line as soon as it is known.

    Raises:
        TrainingFailed: when validation never beats chance.
    """
    from epochal.app.doctor import memorize

    print(f"{'images':>8}  {'steps':>6}  {'loss':>8}  {'train':>6}  {'validation':>10}")
    climbed = []
    for rung in memorize.ladder(config):
        climbed.append(rung)
        print(_row(rung), flush=True)
    print(_verdict(climbed))


def _row(rung: "Rung") -> str:
    figures = f"{rung.images:>8,}  {rung.learned.steps:>6,}  {rung.learned.loss:8.3g}  {rung.train_accuracy:6.1%}"
    return f"{figures}  {rung.validation_accuracy:10.1%}{'' if rung.learned.by_heart else '  not memorised'}"


def _verdict(climbed: Sequence["Rung"]) -> str:
    """From which rung on the model generalises."""
    bound = f"chance and three sigma are {climbed[0].bound:.1%}"
    for rung in climbed:
        if rung.generalises:
            return f"generalises from {rung.images:,} images on: validation {rung.validation_accuracy:.1%}, {bound}"
    raise TrainingFailed(
        f"does not generalise from {climbed[-1].images:,} images ({bound}); run epochal doctor"
    )


def pilot(config: Config) -> Config:
    """The configuration of the pilot; says how it differs.

    Raises:
        UsageError: when the model has no smaller sibling.
    """
    from epochal.app.training.run.pilot import changes, pilot

    smaller = pilot(config)
    say("\n".join(["pilot:", *(f"  {change}" for change in changes(config, smaller))]))
    return smaller
