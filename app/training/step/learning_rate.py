"""Learning rates: the one place that says at which rate a step is taken.

    rate of a step = learning_rate * batch_size / schedule.batch    `Config.peak_rate`
                     * rate_scale                                   a tenth for each rollback
                     * shape(step)                                  `shape_of`, warm-up included

Plateau and stuck have no shape but the warm-up's: callbacks with a state lower the rate when
training says so.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.units import number_of
from epochal.callbacks import schedules

WINDOW = 500  # steps, of `callbacks.StuckDecay` unless another one is given
_PATIENCE = 5  # epochs, of `callbacks.PlateauDecay` unless others are given
_STATEFUL = ("plateau", "stuck")


def shape_of(config: Config, steps: int) -> schedules.Shape:
    """Return the rate relative to `config.peak_rate` as a function of the step, counted from 0.

    That of plateau and stuck, which depends on how training goes, is what it is without a drop.

    Args:
        config: of the run
        steps: in an epoch

    Raises:
        UsageError: when steps that were counted in steps lie past the end, or a window is as long
            as the run.
    """
    schedule = config.schedule
    total = config.epochs * steps
    if schedule.shape == "one_cycle":
        return partial(schedules.one_cycle, steps=total)
    warm_up = _warm_up_steps(config, steps)
    run_length = number_of(total, "step")
    changes = [warm_up, schedule.every or 0]
    changes += schedule.milestones or []
    last_change = max(changes)
    if last_change >= total:
        raise UsageError(
            f"schedule: a milestone, every or the warm-up lies past the end of the {run_length}"
        )
    if schedule.shape == "stuck" and config.budget is None:
        window = schedule.window or WINDOW
        if window >= total:
            raise UsageError(
                f"schedule.window: expected less than the {run_length} of the run, got {window}"
            )
    shape = _shape_after_warm_up(config, steps, warm_up)
    if not warm_up:
        return shape
    return partial(schedules.warmed, warm_up=warm_up, shape=shape)


def _steps_per_unit(config: Config, steps: int) -> int:
    """Return the steps in what the schedule counts: a step or an epoch."""
    if config.schedule.unit == "steps":
        return 1
    return steps


def _warm_up_steps(config: Config, steps: int) -> int:
    """Return the number of steps over which the rate rises."""
    return round((config.schedule.warm_up or 0) * _steps_per_unit(config, steps))


def _shape_after_warm_up(config: Config, steps: int, warm_up: int) -> schedules.Shape:
    """Return the schedule's shape as a function of the steps since the warm-up."""
    schedule = config.schedule
    total = config.epochs * steps
    rest = total - warm_up
    end: dict[str, Any] = {}
    if schedule.end is not None:
        end["end"] = schedule.end
    match schedule.shape:
        case "steps":
            milestones = _milestones(config, steps, warm_up)
            factor = schedule.factor or 0.1
            return partial(
                schedules.stepped,
                milestones=milestones,
                factor=factor,
            )
        case "cosine":
            return partial(schedules.cosine, steps=rest, **end)
        case "polynomial":
            return partial(
                schedules.polynomial,
                steps=rest,
                power=schedule.power or 1.0,
                **end,
            )
        case "exponential":
            return partial(schedules.exponential, steps=rest, **end)
        case "inverse":
            if schedule.offset is None:
                return partial(schedules.inverse, offset=total / 10)
            offset = schedule.offset * _steps_per_unit(config, steps)
            return partial(schedules.inverse, offset=offset)
    return partial(schedules.stepped, milestones=())


def _milestones(config: Config, steps: int, warm_up: int) -> list[int]:
    """Return the steps before which the rate drops, counted from the end of the warm-up.

    Unless configured, these lie after a half and three quarters of the epochs, or of what the
    warm-up leaves.
    """
    schedule = config.schedule
    total = config.epochs * steps
    unit = _steps_per_unit(config, steps)
    if schedule.every is not None:
        interval = schedule.every * unit
        places = list(range(interval, total, interval))
    elif schedule.milestones is not None:
        places = [milestone * unit for milestone in schedule.milestones]
    else:
        half = config.epochs // 2 * steps
        three_quarters = config.epochs * 3 // 4 * steps
        first = half or three_quarters or total
        if first <= warm_up:
            rest = total - warm_up
            half = warm_up + rest * 2 // 4
            three_quarters = warm_up + rest * 3 // 4
        places = sorted({half, three_quarters})
        places = [place for place in places if place > warm_up]
    return [place - warm_up for place in places]


def rate_callbacks(
    config: Config,
    steps: int,
    share: Callable[[], float] | None = None,
    *,
    rate_scale: float = 1.0,
) -> list[Any]:
    """Return the callbacks that set the rate: a schedule, or a warm-up and what lowers it later.

    Args:
        config: of the run
        steps: in an epoch
        share: returns how much of the training is done; then this tells the step, instead of their
            number
        rate_scale: a factor of all rates
    """
    total = config.epochs * steps
    position = None if share is None else lambda: min(total - 1, int(share() * total))
    shape = shape_of(config, steps)
    peak_rate = config.peak_rate * rate_scale
    if config.schedule.shape not in _STATEFUL:
        return [
            callbacks.RateSchedule(
                peak_rate,
                shape,
                position=position,
            )
        ]
    warm_up = _warm_up_steps(config, steps)
    if not warm_up:
        return [_stateful_decay(config, rate_scale)]
    rising = callbacks.RateSchedule(
        peak_rate,
        shape,
        steps=warm_up,
        position=position,
    )
    return [rising, _stateful_decay(config, rate_scale, after=rising)]


def _stateful_decay(
    config: Config, rate_scale: float, after: callbacks.RateSchedule | None = None
) -> Any:
    """Return the callback of plateau or stuck, which judges nothing before `after` is over."""
    schedule = config.schedule
    options: dict[str, Any] = {"after": after}
    for name in ("factor", "patience", "window", "gain", "cooldown", "least"):
        value = getattr(schedule, name)
        if value is not None:
            options[name] = value
    if "least" in options:
        options["least"] *= rate_scale
    if schedule.shape == "stuck":
        return callbacks.StuckDecay(**options)
    options.setdefault("patience", _PATIENCE)
    return callbacks.PlateauDecay("val_loss", **options)


def arithmetic(config: Config) -> str:
    """Return how the rate follows from the global batch: "0.1 x 512 / 256 = 0.2"."""
    batch = config.schedule.batch
    if batch is None:
        return f"{config.rate:g}"
    return f"{config.rate:g} x {config.global_batch} / {batch} = {config.peak_rate:g}"
