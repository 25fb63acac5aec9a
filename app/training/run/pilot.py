"""Pilots: a smaller run ahead of a long one, with fewer layers, images and epochs; long runs may need one first."""

import math
import re
from dataclasses import replace
from typing import Any

from epochal import models
from epochal.app.config import Config, Emphasis, Schedule
from epochal.app.errors import EpochalError, UsageError
from epochal.app.store.run import ROOT, Run, default_name, finished
from epochal.app.training.probes.probe_steps import seconds_a_step
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.learning_rate import WINDOW
from epochal.app.units import number_of, time_of

SHARE = 5  # divides layers and epochs
PART = 0.1  # of the training images
_DEPTH = re.compile(r"(densenet_bc_|densenet_|densenet|resnext|resnet|vgg|wrn)(\d+)(.*)")
_ENDING = "-pilot"
_LONGEST_NAME = 64
_INESSENTIAL = {  # in which a pilot may differ from the one that is sought
    "name",
    "seed",
    "data_dir",
    "devices",
    "checkpoint_seconds",
    "nan_policy",
    "deterministic",
}

Family = tuple[str, str, tuple[int, int, int]]


def pilot_model(name: str) -> str:
    """Return the network of the same family that has a fifth of the layers, or the nearest smaller one of the zoo.

    A family has the same name around the depth, and the same published image size.

    Raises:
        UsageError: the zoo has no smaller one.
    """
    depth, family = _depth_and_family(name)
    smaller = {}
    for other in models.ZOO:
        other_depth, other_family = _depth_and_family(other)
        if family is not None and other_family == family and other_depth < depth:
            smaller[other_depth] = other
    if not smaller:
        raise UsageError(
            f"--pilot: the zoo has no smaller {name}; give another --model, or --data.part {PART}"
        )
    small_enough = [other for other in smaller if other * SHARE <= depth]
    if small_enough:
        return smaller[max(small_enough)]
    return smaller[min(smaller)]


def _depth_and_family(name: str) -> tuple[int, Family | None]:
    """Return the layers that the name tells, and the family; (0, None) where it tells none."""
    match = _DEPTH.fullmatch(name)
    if match is None or name not in models.ZOO:
        return 0, None
    prefix, depth, suffix = match.groups()
    return int(depth), (prefix, suffix, models.ZOO[name].input_shape)


def pilot(config: Config) -> Config:
    """Return the configuration of a pilot for this one, to be run as any other.

    Raises:
        UsageError: the model has no smaller sibling, or the epochs are too few to be shortened.
    """
    if config.model not in models.ZOO:
        return config  # setting up will say what is wrong with it
    epochs = max(1, config.epochs // SHARE)
    share = epochs / config.epochs
    name = config.name or default_name(config)
    every = _fewer(config.optim.unfreeze_every, share)
    if every is not None and every >= epochs:
        every = epochs - 1 or None
    try:
        return replace(
            config,
            model=pilot_model(config.model),
            weights=None,  # they belong to the larger network
            epochs=epochs,
            budget=None,
            pilot_above=None,
            name=name[: _LONGEST_NAME - len(_ENDING)] + _ENDING,
            data=replace(config.data, part=PART * (config.data.part or 1)),
            schedule=_shortened(config.schedule, share, epochs),
            stopping=replace(
                config.stopping, after=None, patience=_fewer(config.stopping.patience, share)
            ),
            optim=replace(config.optim, unfreeze_every=every),
            emphasis=_shortened_emphasis(config.emphasis, share, epochs),
        )
    except ValueError as error:
        raise UsageError(f"--pilot trains for {number_of(epochs, 'epoch')}: {error}") from error


def _fewer(epochs: int | None, share: float) -> int | None:
    """Return a share of so many epochs, but one at least; null stays null."""
    return None if epochs is None else max(1, round(epochs * share))


def _shortened_emphasis(emphasis: Emphasis, share: float, epochs: int) -> Emphasis:
    """Return the emphasis with an earlier start, within the epochs if it is in use."""
    start = _fewer(emphasis.start, share)
    if emphasis.by is None or start is None:
        return emphasis
    return replace(emphasis, start=max(1, min(start, epochs - 1)))


def _shortened(schedule: Schedule, share: float, epochs: int) -> Schedule:
    """Return the schedule with all that counts epochs shortened by `share`; fewer images shorten what counts steps too."""
    share_of_steps = share * PART
    if schedule.unit == "steps":
        share = share_of_steps
    changed: dict[str, Any] = {}
    window = schedule.window
    if schedule.shape == "stuck":
        window = window or WINDOW
    if window:
        changed["window"] = max(1, round(window * share_of_steps))
    if schedule.shape == "plateau":
        if schedule.patience:
            changed["patience"] = max(1, round(schedule.patience * share))
        if schedule.cooldown:
            changed["cooldown"] = max(1, round(schedule.cooldown * share))
    if schedule.warm_up is not None:
        changed["warm_up"] = schedule.warm_up * share
    if schedule.offset is not None:
        changed["offset"] = schedule.offset * share
    # Rates drop behind the warm-up; at the end of the last epoch nothing could drop.
    first = math.floor(changed.get("warm_up", 0)) + 1
    last = math.inf if schedule.unit == "steps" else epochs - 1
    if schedule.milestones is not None:
        shorter = {max(first, round(milestone * share)) for milestone in schedule.milestones}
        changed["milestones"] = [milestone for milestone in sorted(shorter) if milestone <= last]
    if schedule.every:
        every = max(first, round(schedule.every * share))
        changed["every"] = min(every, last) if first <= last else None
    return replace(schedule, **changed)


def changes(config: Config, other: Config) -> list[str]:
    """Return the differences, a line each: `epochs: 30 -> 6`."""
    before = _flat(config)
    after = _flat(other)
    return [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]


def _flat(config: Config) -> dict[str, object]:
    """Return the settings by dotted key."""
    flat: dict[str, object] = {}
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            for inner_key, inner_value in value.items():
                flat[f"{key}.{inner_key}"] = inner_value
        else:
            flat[key] = value
    return flat


def check_piloted(setup: Setup) -> None:
    """Refuse a run that takes longer than `pilot_above` until a pilot of it has learned something.

    Unless a budget tells how long it takes, some steps are measured, and undone.

    Raises:
        UsageError: saying how long it would take.
    """
    config = setup.config
    if config.pilot_above_seconds is None:
        return
    seconds = config.budget_seconds
    if not seconds:
        seconds = seconds_a_step(setup) * setup.batches.steps * config.last_epoch
    if seconds <= config.pilot_above_seconds:
        return
    try:
        wanted = pilot(config)
    except UsageError as error:
        raise UsageError(
            f"pilot_above: {config.pilot_above}, which this run is longer than; but {error}"
        ) from error
    if not any(_is_pilot(run, wanted) for run in finished()):
        raise UsageError(
            f"pilot_above: {config.pilot_above}, this run takes about {time_of(seconds)}, and no pilot of it that "
            f"learned something is in {ROOT}/; give the same options with --pilot first"
        )


def _is_pilot(run: Run, wanted: Config) -> bool:
    """Whether a finished run has this configuration and is better than guessing."""
    try:
        if _essential(run.config()) != _essential(wanted):
            return False
    except EpochalError:  # damaged, or of a later version: nobody's pilot
        return False
    return run.result().learned


def _essential(config: Config) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in _INESSENTIAL}
