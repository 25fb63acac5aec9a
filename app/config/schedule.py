"""Schedule settings: how the learning rate changes."""

from dataclasses import asdict, dataclass
from typing import Literal

from epochal.app.config.checks import check, check_at_least, check_positive, check_share
from epochal.app.config.settings import setting

# The settings that each shape listens to.
_SHAPES = {
    "steps": ("milestones", "every", "factor", "unit", "warm_up"),
    "cosine": ("end", "unit", "warm_up"),
    "polynomial": ("end", "power", "unit", "warm_up"),
    "exponential": ("end", "unit", "warm_up"),
    "inverse": ("offset", "unit", "warm_up"),
    "one_cycle": (),
    "plateau": ("factor", "patience", "cooldown", "least", "unit", "warm_up"),
    "stuck": ("factor", "patience", "window", "gain", "cooldown", "least", "unit", "warm_up"),
}
_OF_EVERY_SHAPE = ("shape", "batch")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the learning rate changes; `epochal lr-plan` draws it."""

    shape: Literal[
        "steps", "cosine", "polynomial", "exponential", "inverse", "one_cycle", "plateau", "stuck"
    ] = setting(
        "steps",
        "steps, cosine, polynomial, exponential, inverse (C / (C + t)), one_cycle (up over 30 % of "
        "all steps, then down to almost nothing), plateau (a drop when validation loss is stuck) "
        "or stuck (when training loss is)",
    )
    unit: Literal["epochs", "steps"] | None = setting(
        None, "what milestones, every, warm_up and offset count: epochs or steps (null: epochs)"
    )
    milestones: list[int] | None = setting(
        None,
        "numbers of epochs, as [15, 22], after which the rate falls by factor (null: 1/2 and 3/4 "
        "of all, or of what a longer warm_up leaves)",
        counts="schedule",
    )
    every: int | None = setting(
        None,
        "instead of milestones: every so many epochs (null: see milestones)",
        counts="schedule",
    )
    factor: float | None = setting(None, "what a drop multiplies the rate by (null: 0.1)")
    warm_up: float | None = setting(
        None,
        "the rate rises to its full height over so many epochs before the shape begins (null: 0)",
        counts="schedule",
    )
    end: float | None = setting(
        None,
        "share of the rate left in the end (null: 0 for cosine and polynomial, 0.01 for "
        "exponential)",
    )
    power: float | None = setting(None, "of polynomial (null: 1, a line)")
    offset: float | None = setting(
        None,
        "the C of inverse: after so many epochs the rate has halved (null: a tenth of all)",
        counts="schedule",
    )
    patience: int | None = setting(
        None,
        "epochs of plateau (null: 5) or windows of stuck (null: 2) without progress before a drop",
        counts="schedule",
    )
    window: int | None = setting(
        None, "steps in each mean loss that stuck compares (null: 500)", counts="steps"
    )
    gain: float | None = setting(
        None,
        "what a mean loss of stuck must fall by, relative to the one before, to count as progress "
        "(null: 0.01)",
    )
    cooldown: int | None = setting(
        None,
        "epochs of plateau (null: 0) or windows of stuck (null: 1) after a drop that are not "
        "judged",
        counts="schedule",
    )
    least: float | None = setting(
        None, "the rate below which plateau and stuck do not go (null: 0)"
    )
    batch: int | None = setting(
        None,
        "the global batch that learning_rate is meant for; it is multiplied by batch_size / batch "
        "(null: any)",
    )

    def __post_init__(self) -> None:
        self._check_shape()
        self._check_drops()
        for name in ("patience", "window", "batch"):
            check_at_least(f"schedule.{name}", getattr(self, name), 1)
        for name in ("cooldown", "least"):
            check_at_least(f"schedule.{name}", getattr(self, name), 0)
        for name in ("warm_up", "power", "offset"):
            check_positive(f"schedule.{name}", getattr(self, name))
        check_share("schedule.end", self.end)
        fits = self.end != 0 or self.shape != "exponential"
        check(
            fits,
            "schedule.end",
            "above 0 for exponential",
            self.end,
        )
        check_share("schedule.gain", self.gain)

    def _check_shape(self) -> None:
        """Refuse a setting that the shape does not listen to."""
        for name, value in asdict(self).items():
            if value is None or name in _OF_EVERY_SHAPE:
                continue
            fitting = [shape for shape, names in _SHAPES.items() if name in names]
            key = f"schedule.shape with schedule.{name}"
            check(
                self.shape in fitting,
                key,
                " or ".join(fitting),
                self.shape,
            )

    def _check_drops(self) -> None:
        milestones = self.milestones or []
        every = self.every
        if milestones and every is not None:
            both = ["milestones", "every"]
            check(
                False,
                "schedule",
                "milestones or every, not both",
                both,
            )
        rising = milestones == sorted(set(milestones))
        check(
            rising,
            "schedule.milestones",
            "in rising order",
            milestones,
        )
        for milestone in milestones:
            check(
                milestone >= 1,
                "schedule.milestones",
                "1 or more",
                milestones,
            )
        check_at_least("schedule.every", every, 1)
        factor = self.factor
        check(
            factor is None or 0 < factor < 1,
            "schedule.factor",
            "above 0 and below 1",
            factor,
        )
        warm_up = self.warm_up or 0
        behind = f"behind schedule.warm_up {warm_up:g}"
        fits = not milestones or milestones[0] > warm_up
        check(
            fits,
            "schedule.milestones",
            behind,
            milestones,
        )
        check(
            every is None or every > warm_up,
            "schedule.every",
            behind,
            every,
        )

    def counted_in(self, name: str) -> Literal["epochs", "steps", "windows"]:
        """Return what a setting of the schedule counts, which its shape and unit decide."""
        if name in ("patience", "cooldown"):
            return "epochs" if self.shape == "plateau" else "windows"
        return self.unit or "epochs"
