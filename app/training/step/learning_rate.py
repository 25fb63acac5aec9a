"""The configured course of the learning rate, as a function of the step and as callbacks."""

from collections.abc import Callable
from functools import partial
from typing import Any

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.units import number_of
from epochal.callbacks import schedules

SLOWER = 10  # what a rollback divides the rate by
WINDOW = 500  # steps, of `callbacks.StuckDecay` unless another one is given
_STATEFUL = ("plateau", "stuck")


def slowed(rate: float, rollbacks: int) -> float:
    """The rate after so many rollbacks."""
    return rate / SLOWER**rollbacks


def shape_of(config: Config, steps: int) -> schedules.Shape:
    """The rate relative to `config.peak_rate` at each step, counted from 0; an epoch has so many steps.

    That of plateau and stuck, which depends on how training goes, is what it is without a drop.

    Raises:
        UsageError: when steps that were counted in steps lie past the end, or a window is as long as the run.
    """
    schedule = config.schedule
    total = config.epochs * steps
    if schedule.shape == "one_cycle":
        return partial(schedules.one_cycle, steps=total)
    warm_up = _warm_up(config, steps)
    in_words = number_of(total, "step")
    if max(warm_up, schedule.every or 0, *(schedule.milestones or [0])) >= total:
        raise UsageError(
            f"schedule: a milestone, every or the warm-up lies past the end of the {in_words}"
        )
    window = (schedule.window or WINDOW) if schedule.shape == "stuck" else 0
    if config.budget is None and window >= total:
        raise UsageError(
            f"schedule.window: expected less than the {in_words} of the run, got {window}"
        )
    plain = _plain(config, steps, warm_up)
    return partial(schedules.warmed, warm_up=warm_up, shape=plain) if warm_up else plain


def _warm_up(config: Config, steps: int) -> int:
    """The steps over which the rate rises."""
    return round((config.schedule.warm_up or 0) * (1 if config.schedule.unit == "steps" else steps))


def _plain(config: Config, steps: int, warm_up: int) -> schedules.Shape:
    """The shape behind the warm-up."""
    schedule = config.schedule
    rest = config.epochs * steps - warm_up
    each = 1 if schedule.unit == "steps" else steps
    end: dict[str, Any] = {"end": schedule.end} if schedule.end is not None else {}
    match schedule.shape:
        case "steps":
            drops = [milestone - warm_up for milestone in _milestones(config, steps, warm_up)]
            return partial(schedules.stepped, milestones=drops, factor=schedule.factor or 0.1)
        case "cosine":
            return partial(schedules.cosine, steps=rest, **end)
        case "polynomial":
            return partial(schedules.polynomial, steps=rest, power=schedule.power or 1.0, **end)
        case "exponential":
            return partial(schedules.exponential, steps=rest, **end)
        case "inverse":
            offset = (
                config.epochs * steps / 10 if schedule.offset is None else schedule.offset * each
            )
            return partial(schedules.inverse, offset=offset)
    return partial(schedules.stepped, milestones=())


def _milestones(config: Config, steps: int, warm_up: int) -> list[int]:
    """The steps before which the rate drops, counted from the beginning of training."""
    schedule = config.schedule
    each = 1 if schedule.unit == "steps" else steps
    total = config.epochs * steps
    if schedule.every is not None:
        return list(range(schedule.every * each, total, schedule.every * each))
    if schedule.milestones is not None:
        return [milestone * each for milestone in schedule.milestones]
    places = {epoch * steps for epoch in (config.epochs // 2, config.epochs * 3 // 4) if epoch}
    if min(places, default=total) <= warm_up:
        places = {warm_up + (total - warm_up) * quarters // 4 for quarters in (2, 3)}
    return sorted(place for place in places if place > warm_up)


def rate_callbacks(
    config: Config, steps: int, share: Callable[[], float] | None = None
) -> list[Any]:
    """What sets the rate: a pure schedule, or the warm-up and what comes after it.

    These follow `share`, how much of the training is done, where that is given instead of a number of steps.
    """
    schedule = config.schedule
    shape = shape_of(config, steps)
    total = config.epochs * steps
    position = None if share is None else lambda: min(total - 1, int(share() * total))
    if schedule.shape not in _STATEFUL:
        return [callbacks.RateSchedule(config.peak_rate, shape, position=position)]
    warm_up = _warm_up(config, steps)
    rising = (
        [callbacks.RateSchedule(config.peak_rate, shape, steps=warm_up, position=position)]
        if warm_up
        else []
    )
    options = {
        key: getattr(schedule, key)
        for key in ("factor", "patience", "window", "gain", "cooldown", "least")
    }
    given = {key: value for key, value in options.items() if value is not None}
    if schedule.shape == "plateau":
        falling: Any = callbacks.PlateauDecay("val_loss", **{"patience": 5, **given})
    else:
        falling = callbacks.StuckDecay(**given)
    falling.begin = warm_up
    falling.position = position
    return [*rising, falling]


def arithmetic(config: Config) -> str:
    """How the rate follows from the global batch: "0.1 x 512 / 256 = 0.2"."""
    batch = config.schedule.batch
    if batch is None:
        return f"{config.rate:g}"
    return f"{config.rate:g} x {config.batch_size} / {batch} = {config.peak_rate:g}"
