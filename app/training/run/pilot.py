"""Pilots: a smaller run ahead of a long one, and long runs that must have had theirs."""

import math
import re
from typing import Any, get_args

from epochal import models
from epochal.app.config import SETTINGS, Config, get_setting, replace_settings
from epochal.app.config.keys import flatten
from epochal.app.errors import EpochalError, UsageError
from epochal.app.store import runs
from epochal.app.store.run import Run
from epochal.app.store.runs import default_name
from epochal.app.training.probes.probe_steps import seconds_a_step
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.learning_rate import WINDOW
from epochal.app.units import number_of, time_of

SHARE = 5  # layers and epochs are divided by this
PART = 0.1  # of the training images
_DEPTH = re.compile(r"(densenet_bc_|densenet_|densenet|resnext|resnet|vgg|wrn)(\d+)(.*)")
_ENDING = "-pilot"
_LONGEST_NAME = 64


def pilot_model(name: str) -> str:
    """Return the network of the same family with a fifth of the layers, or the nearest smaller one.

    A family is what stands around the depth in a name, and the images it was published for.

    Raises:
        UsageError: when the zoo has no smaller one.
    """
    depth, family = _depth(name)
    smaller = {}
    for other in models.ZOO:
        other_depth, other_family = _depth(other)
        if other_family == family and other_depth < depth:
            smaller[other_depth] = other
    if family is None or not smaller:
        raise UsageError(
            f"--pilot: the zoo has no smaller {name}; give another --model, or --data.part {PART}"
        )
    small_enough = [other_depth for other_depth in smaller if other_depth * SHARE <= depth]
    return smaller[max(small_enough) if small_enough else min(smaller)]


def _depth(name: str) -> tuple[int, tuple[str, str, tuple[int, int, int]] | None]:
    """Return the number of layers in a name, and the family; (0, None) where there is none."""
    match = _DEPTH.fullmatch(name)
    if match is None or name not in models.ZOO:
        return 0, None
    return int(match[2]), (match[1], match[3], models.ZOO[name].input_shape)


def pilot(config: Config) -> Config:
    """Return the configuration of a pilot, to be run as any other.

    Raises:
        UsageError: when the model has no smaller sibling, or the epochs are too few for it.
    """
    if config.model not in models.ZOO:
        return config  # setting up will say what is wrong with it
    epochs = max(1, config.epochs // SHARE)
    name = config.name or default_name(config)
    changes = _shorten(config, epochs) | {
        "model": pilot_model(config.model),
        # They are those of the larger network.
        "weights": None,
        "budget": None,
        "pilot_above": None,
        "stopping.after": None,
        "data.part": PART * (config.data.part or 1),
        "name": name[: _LONGEST_NAME - len(_ENDING)] + _ENDING,
    }
    try:
        return replace_settings(config, changes)
    except ValueError as error:
        raise UsageError(f"--pilot trains for {number_of(epochs, 'epoch')}: {error}") from error


def _shorten(config: Config, epochs: int) -> dict[str, Any]:
    """Return all that counts epochs or steps, for so many epochs of fewer images."""
    share = epochs / config.epochs
    shares = {"epochs": share, "steps": share * PART, "windows": 1.0}
    shorter: dict[str, Any] = {}
    for key, setting in SETTINGS.items():
        counted = setting.traits.counts
        if counted is None:
            continue
        group, _, name = key.rpartition(".")
        value = get_setting(config, key)
        if key == "schedule.window" and config.schedule.shape == "stuck":
            value = value or WINDOW
        if value and float in get_args(setting.type):
            value = float(value)
        unit = config.schedule.counted_in(name) if counted == "schedule" else counted
        ignored = group == "emphasis" and config.emphasis.by is None
        if value and not ignored:
            shorter[key] = _share_of(value, shares[unit])
    _keep_within(
        shorter,
        epochs,
        in_steps=config.schedule.unit == "steps",
    )
    return shorter


def _share_of(value: Any, share: float) -> Any:
    """Return a share of a number: of a whole one a whole one, at least 1; of a list, of each."""
    if isinstance(value, list):
        return [_share_of(element, share) for element in value]
    if isinstance(value, float):
        return value * share
    return max(1, round(value * share))


def _keep_within(shorter: dict[str, Any], epochs: int, *, in_steps: bool) -> None:
    """Move all that is to happen in the schedule behind its warm-up and before its end."""
    latest = epochs - 1
    first = math.floor(shorter.get("schedule.warm_up", 0)) + 1
    last = math.inf if in_steps else latest
    if "schedule.milestones" in shorter:
        milestones = set()
        for milestone in shorter["schedule.milestones"]:
            place = max(first, milestone)
            if place <= last:
                milestones.add(place)
        shorter["schedule.milestones"] = sorted(milestones)
    if "schedule.every" in shorter:
        interval = max(first, shorter["schedule.every"])
        shorter["schedule.every"] = None
        if first <= last:
            shorter["schedule.every"] = min(interval, last)
    if "optim.unfreeze_every" in shorter:
        interval = min(shorter["optim.unfreeze_every"], latest)
        shorter["optim.unfreeze_every"] = interval or None
    if "emphasis.start" in shorter:
        start = min(shorter["emphasis.start"], latest)
        shorter["emphasis.start"] = max(1, start)


def changes(config: Config, other: Config) -> list[str]:
    """Return what differs, a line for each setting: `epochs: 30 -> 6`."""
    before = flatten(config.to_dict())
    after = flatten(other.to_dict())
    lines = []
    for key, value in before.items():
        if value != after[key]:
            lines.append(f"{key}: {value} -> {after[key]}")
    return lines


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
    if seconds is None:
        seconds = seconds_a_step(setup) * setup.batches.steps * config.last_epoch
    if seconds > config.pilot_above_seconds and not _has_passed(_required_pilot(config)):
        raise UsageError(
            f"pilot_above: {config.pilot_above}, this run takes about {time_of(seconds)}, and no "
            f"pilot of it that learned something is in {runs.ROOT}/; give the same options with "
            "--pilot first"
        )


def _required_pilot(config: Config) -> Config:
    try:
        return pilot(config)
    except UsageError as error:
        raise UsageError(
            f"pilot_above: {config.pilot_above}, which this run is longer than; but {error}"
        ) from error


def _has_passed(config: Config) -> bool:
    """Tell whether a finished run of this configuration is better than guessing."""
    return any(_is_of(run, config) and run.result().learned for run in runs.finished())


def _is_of(run: Run, config: Config) -> bool:
    try:
        stored = run.config()
    except EpochalError:  # damaged, or of a later version: nobody's pilot
        return False
    return _essential(stored) == _essential(config)


def _essential(config: Config) -> dict[str, Any]:
    """Return the settings that decide what a run learns."""
    values = flatten(config.to_dict())
    return {key: value for key, value in values.items() if SETTINGS[key].traits.essential}
