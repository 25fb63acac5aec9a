"""How the learning rate changes, and when training stops."""

from dataclasses import asdict, dataclass
from typing import Literal

from epochal.app.config.checks import check, is_number

_SHAPES = {  # what each shape of a schedule listens to
    "steps": ("milestones", "every", "factor", "unit", "warm_up"),
    "cosine": ("end", "unit", "warm_up"),
    "polynomial": ("end", "power", "unit", "warm_up"),
    "exponential": ("end", "unit", "warm_up"),
    "inverse": ("offset", "unit", "warm_up"),
    "one_cycle": (),
    "plateau": ("factor", "patience", "cooldown", "least", "unit", "warm_up"),
    "stuck": ("factor", "patience", "window", "gain", "cooldown", "least", "unit", "warm_up"),
}


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes; `epochal lr-plan` draws it.

    Args:
        shape: steps, cosine, polynomial, exponential, inverse (C / (C + t)), one_cycle (up over 30 % of all steps, then
            down to almost nothing), plateau (a drop when validation loss is stuck) or stuck (when training loss is)
        unit: what milestones, every, warm_up and offset count: epochs or steps (null: epochs)
        milestones: numbers of epochs, as [15, 22], after which the rate falls by factor (null: 1/2 and 3/4 of all,
            or of what a longer warm_up leaves)
        every: instead of milestones: every so many epochs
        factor: what a drop multiplies the rate by (null: 0.1)
        warm_up: the rate rises to its full height over so many epochs before the shape begins (null: 0)
        end: share of the rate left in the end (null: 0 for cosine and polynomial, 0.01 for exponential)
        power: of polynomial (null: 1, a line)
        offset: the C of inverse: after so many epochs the rate has halved (null: a tenth of all)
        patience: epochs of plateau (null: 5) or windows of stuck (null: 2) without progress before a drop
        window: steps in each mean loss that stuck compares (null: 500)
        gain: what a mean loss of stuck must fall by, relative to the one before, to count as progress (null: 0.01)
        cooldown: epochs of plateau (null: 0) or windows of stuck (null: 1) after a drop that are not judged
        least: the rate below which plateau and stuck do not go (null: 0)
        batch: the global batch that learning_rate is meant for; it is multiplied by batch_size / batch (null: any)
    """

    shape: Literal[
        "steps", "cosine", "polynomial", "exponential", "inverse", "one_cycle", "plateau", "stuck"
    ] = "steps"
    unit: Literal["epochs", "steps"] | None = None
    milestones: list[int] | None = None
    every: int | None = None
    factor: float | None = None
    warm_up: float | None = None
    end: float | None = None
    power: float | None = None
    offset: float | None = None
    patience: int | None = None
    window: int | None = None
    gain: float | None = None
    cooldown: int | None = None
    least: float | None = None
    batch: int | None = None

    def __post_init__(self) -> None:
        given = [
            key
            for key, value in asdict(self).items()
            if value is not None and key not in ("shape", "batch")
        ]
        for key in given:
            fitting = [shape for shape, keys in _SHAPES.items() if key in keys]
            check(
                self.shape in fitting,
                f"schedule.shape with schedule.{key}",
                " or ".join(fitting),
                self.shape,
            )
        milestones = self.milestones or []
        check(
            not milestones or self.every is None, "schedule", "milestones or every, not both", given
        )
        check(
            milestones == sorted(set(milestones)),
            "schedule.milestones",
            "in rising order",
            milestones,
        )
        for key in ("every", "patience", "window", "batch"):
            value = getattr(self, key)
            check(value is None or value >= 1, f"schedule.{key}", "1 or more", value)
        for milestone in milestones:
            check(milestone >= 1, "schedule.milestones", "1 or more", milestones)
        check(
            self.factor is None or 0 < self.factor < 1,
            "schedule.factor",
            "above 0 and below 1",
            self.factor,
        )
        check(self.end is None or 0 <= self.end < 1, "schedule.end", "from 0 to below 1", self.end)
        check(
            self.end != 0 or self.shape != "exponential",
            "schedule.end",
            "above 0 for exponential",
            self.end,
        )
        for key in ("cooldown", "least"):
            value = getattr(self, key)
            check(value is None or is_number(value, 0), f"schedule.{key}", "0 or more", value)
        check(
            self.gain is None or 0 <= self.gain < 1, "schedule.gain", "from 0 to below 1", self.gain
        )
        for key in ("warm_up", "power", "offset"):
            value = getattr(self, key)
            check(
                value is None or (is_number(value, 0) and value > 0),
                f"schedule.{key}",
                "above 0",
                value,
            )
        warm_up = self.warm_up or 0
        every = self.every
        behind = f"behind schedule.warm_up {warm_up:g}"
        check(not milestones or milestones[0] > warm_up, "schedule.milestones", behind, milestones)
        check(every is None or every > warm_up, "schedule.every", behind, every)


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """Early stopping; the best epoch's weights are kept in any case.

    Args:
        monitor: val_accuracy or val_loss
        after: end after so many epochs; the schedule's course is still laid out for all `epochs` (null: all)
        patience: epochs without improvement after which training stops (null: never)
        keep: so many best epochs' weights stay as files in the run's best_weights/ (null: the best one's alone, in
            checkpoints/best)
    """

    monitor: Literal["val_accuracy", "val_loss"] = "val_accuracy"
    after: int | None = None
    patience: int | None = None
    keep: int | None = None

    def __post_init__(self) -> None:
        check(
            self.after is None or self.after >= 1, "stopping.after", "1 epoch or more", self.after
        )
        check(self.keep is None or self.keep >= 1, "stopping.keep", "1 epoch or more", self.keep)
        check(
            self.patience is None or self.patience >= 1,
            "stopping.patience",
            "1 epoch or more",
            self.patience,
        )
