"""A smaller run ahead of a long one: fewer layers, images and epochs; and long ones that must have had theirs."""

import math
import re
from dataclasses import replace
from typing import Any

from epochal import models
from epochal.app.config import Config, Schedule
from epochal.app.errors import EpochalError, UsageError
from epochal.app.store import run as runs
from epochal.app.store.run import Run, default_name
from epochal.app.training.probes.probe_steps import seconds_a_step
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.learning_rate import WINDOW
from epochal.app.units import number_of, time_of

SHARE = 5  # layers and epochs are divided by this
PART = 0.1  # of the training images
_DEPTH = re.compile(r"(densenet_bc_|densenet_|densenet|resnext|resnet|vgg|wrn)(\d+)(.*)")
_ENDING = "-pilot"
_EITHER_WAY = {
    "name",
    "seed",
    "data_dir",
    "devices",
    "checkpoint_seconds",
    "nan_policy",
    "deterministic",
}


def pilot_model(name: str) -> str:
    """The network of the same family that has a fifth of the layers, or the nearest smaller one of the zoo.

    Families are told by what stands around the depth in the name, and by the images they were published for.

    Raises:
        UsageError: when the zoo has no smaller one.
    """
    depth, family = _depth(name)
    smaller = sorted(
        found for other in models.ZOO for found in [_depth(other)[0]] if _depth(other)[1] == family
    )
    smaller = [one for one in smaller if one < depth]
    if family is None or not smaller:
        raise UsageError(
            f"--pilot: the zoo has no smaller {name}; give another --model, or --data.part {PART}"
        )
    wanted = [one for one in smaller if one * SHARE <= depth]
    chosen = wanted[-1] if wanted else smaller[0]
    return next(other for other in models.ZOO if _depth(other) == (chosen, family))


def _depth(name: str) -> tuple[int, tuple[str, str, tuple[int, int, int]] | None]:
    """Layers that the name tells, and the family; (0, None) where it tells none."""
    match = _DEPTH.fullmatch(name)
    if match is None or name not in models.ZOO:
        return 0, None
    return int(match[2]), (match[1], match[3], models.ZOO[name].input_shape)


def pilot(config: Config) -> Config:
    """The configuration of a pilot for this one, to be run as any other.

    Raises:
        UsageError: when the model has no smaller sibling, or the epochs are too few to be shortened.
    """
    if config.model not in models.ZOO:
        return config  # setting up will say what is wrong with it
    epochs = max(1, config.epochs // SHARE)
    try:
        return replace(
            config,
            model=pilot_model(config.model),
            weights=None,  # they are those of the larger network
            epochs=epochs,
            budget=None,
            pilot_above=None,
            schedule=_shortened(config.schedule, epochs / config.epochs, epochs),
            data=replace(config.data, part=PART * (config.data.part or 1)),
            name=(config.name or default_name(config))[: 64 - len(_ENDING)] + _ENDING,
            **_groups(config, epochs),
        )
    except ValueError as error:
        raise UsageError(f"--pilot trains for {number_of(epochs, 'epoch')}: {error}") from error


def _groups(config: Config, epochs: int) -> dict[str, Any]:
    """The groups of settings beside the schedule that count epochs, for so many of them."""
    share = epochs / config.epochs
    emphasis = config.emphasis
    patience, every = (
        _fewer(value, share) for value in (config.stopping.patience, config.optim.unfreeze_every)
    )
    begun = None if emphasis.by is None else _fewer(emphasis.start, share)
    return {
        "stopping": replace(config.stopping, after=None, patience=patience),
        "optim": replace(
            config.optim, unfreeze_every=every if (every or 0) < epochs else epochs - 1 or None
        ),
        "emphasis": replace(emphasis, start=max(1, min(begun, epochs - 1))) if begun else emphasis,
    }


def _fewer(epochs: int | None, share: float) -> int | None:
    """A share of so many epochs, but one at least; null stays null."""
    return None if epochs is None else max(1, round(epochs * share))


def changes(config: Config, other: Config) -> list[str]:
    """What differs, a line each: `epochs: 30 -> 6`."""
    before = _flat(config.to_dict())
    after = _flat(other.to_dict())
    return [f"{key}: {before[key]} -> {after[key]}" for key in before if before[key] != after[key]]


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict) and not prefix
            else {prefix + key: value}
        )
    return flat


def _shortened(schedule: Schedule, share: float, epochs: int) -> Schedule:
    """The schedule with all that counts epochs shortened by `share`, what counts steps by that of fewer images, too."""
    in_steps = share * PART
    share = in_steps if schedule.unit == "steps" else share
    if schedule.shape == "stuck":
        schedule = replace(schedule, window=schedule.window or WINDOW)
    in_epochs = ("every", "patience", "cooldown") if schedule.shape == "plateau" else ("every",)
    shares = {"window": in_steps, **dict.fromkeys(in_epochs, share)}
    whole: dict[str, Any] = {
        key: max(1, round(value * by))
        for key, by in shares.items()
        if (value := getattr(schedule, key))
    }
    parts = {
        key: value * share
        for key in ("warm_up", "offset")
        if (value := getattr(schedule, key)) is not None
    }
    first = math.floor(parts.get("warm_up", 0)) + 1  # behind the warm-up
    last = (
        math.inf if schedule.unit == "steps" else epochs - 1
    )  # at a later end of an epoch nothing could fall
    milestones = schedule.milestones
    if milestones is not None:
        shorter = sorted({max(first, round(milestone * share)) for milestone in milestones})
        milestones = [one for one in shorter if one <= last]
    if "every" in whole:
        whole["every"] = min(max(first, whole["every"]), last) if first <= last else None
    return replace(schedule, milestones=milestones, **whole, **parts)


def check_piloted(setup: Setup) -> None:
    """Refuses a run that takes longer than `pilot_above` until a pilot of it has learned something.

    Unless a budget tells how long it takes, some steps are measured, and undone.

    Raises:
        UsageError: saying how long it would take.
    """
    config = setup.config
    if config.pilot_above_seconds is None:
        return
    seconds = (
        config.budget_seconds or seconds_a_step(setup) * setup.batches.steps * config.last_epoch
    )
    if seconds > config.pilot_above_seconds and not _passed(_wanted(config)):
        raise UsageError(
            f"pilot_above: {config.pilot_above}, this run takes about {time_of(seconds)}, and no pilot of it that "
            f"learned something is in {runs.ROOT}/; give the same options with --pilot first"
        )


def _wanted(config: Config) -> Config:
    try:
        return pilot(config)
    except UsageError as error:
        raise UsageError(
            f"pilot_above: {config.pilot_above}, which this run is longer than; but {error}"
        ) from error


def _passed(wanted: Config) -> bool:
    """Whether a finished run of this configuration is better than guessing."""
    return any(_is_of(run, wanted) and run.result().learned for run in runs.finished())


def _is_of(run: Run, wanted: Config) -> bool:
    try:
        return _essential(run.config()) == _essential(wanted)
    except EpochalError:  # damaged, or of a later version: nobody's pilot
        return False


def _essential(config: Config) -> dict[str, Any]:
    return {key: value for key, value in config.to_dict().items() if key not in _EITHER_WAY}
