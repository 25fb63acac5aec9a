"""Starting from what an earlier run learned: its best weights, and nothing else of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.config import Config
from epochal.app.config.files import read_config_file
from epochal.app.data.dataset import Dataset
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.store.run import Run
from epochal.app.store.trained_model import best_weights
from epochal.app.training.step.learning_rate import shape_of

_HEAD = "logits/"  # how the paths begin of those weights that have something for every class
_JUMP = 3.0  # times the last rate: beyond it, what was learned is at risk
_ENDED = (
    0.01  # of its peak: a last rate below it is the end of a schedule, at which little is learned
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where first weights came from: the run, the SHA-256 of its weights, its last and highest rates, its classes."""

    run: str
    weights: str
    learning_rate: float
    peak_rate: float
    known_classes: tuple[str, ...]
    fresh_classes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """What environment.json keeps of it."""
        return {"run": self.run, "weights": self.weights, "learning_rate": self.learning_rate}

    def lines(self, config: Config, steps: int) -> list[str]:
        """What the user should know; an epoch of the new run has so many steps."""
        known = len(self.known_classes)
        fresh = len(self.fresh_classes)
        head = (
            f"it knows {known} of the {known + fresh} classes by name"
            if known
            else "it knows none of the classes"
        )
        told = (
            f"; the logits of {', '.join(self.fresh_classes[:5])}{', ...' * (fresh > 5)} start fresh"
            if fresh
            else ""
        )
        return [f"starting from {self.run}: {head}{told}", *self._warnings(config, steps)]

    def _warnings(self, config: Config, steps: int) -> list[str]:
        first = config.peak_rate * shape_of(config, steps)(0)
        last = self.learning_rate
        low = _ENDED * self.peak_rate
        if config.peak_rate < low:
            return [
                f"warning: a learning rate of {config.peak_rate:g} will change little: {self.run} was trained at up to "
                f"{self.peak_rate:g} and ended at {last:g}; give --learning-rate, a tenth of the highest to begin with"
            ]
        if first > _JUMP * max(last, low):
            return [
                f"warning: the learning rate jumps from {last:g}, the last one there, to {first:g}: what was learned "
                "may be lost; leave --learning-rate out to go on at the last one, or add --schedule.warm-up"
            ]
        return []


def standardised_like(run: Run, dataset: Dataset) -> Dataset:
    """The data set with the mean and deviation that the run's network reads images by.

    Raises:
        UsageError: when the images have other channels.
    """
    before = Preprocessing.from_dict(run.read_json("data.json"))
    own = dataset.preprocessing
    if before.channels != own.channels:
        raise UsageError(
            f"init_from: {run.folder} reads {before.channels} channel(s), {dataset.name} has {own.channels}; "
            "give a run on images of the same kind"
        )
    return replace(
        dataset, preprocessing=replace(own, mean=before.mean, deviation=before.deviation)
    )


def take_over(model: Any, config: Config, classes: tuple[str, ...]) -> Origin:
    """Gives the model the best weights of the run `config.init_from`; logits go by the names of the classes.

    Raises:
        UsageError: naming the first difference when that run has another network, before any weight is changed.
        StorageError: when its files are damaged.
    """
    run = Run(Path(config.init_from or ""))
    arrays, digest = best_weights(run)
    source = read_config_file(run.folder / "config.yaml")
    _check_options(config, source, run)
    before = Preprocessing.from_dict(run.read_json("data.json")).classes
    pairs = _paired(model, arrays, run)
    known = [name for name in classes if name in before]
    ours = [classes.index(name) for name in known]
    theirs = [before.index(name) for name in known]
    for weight, array in pairs:
        if weight.path.startswith(_HEAD):
            value = np.array(weight.numpy())
            value[..., ours] = array[..., theirs]
            array = value
        weight.assign(array)
    return Origin(
        run=str(run.folder),
        weights=digest,
        learning_rate=run.last_rate(),
        peak_rate=source.peak_rate,
        known_classes=tuple(known),
        fresh_classes=tuple(name for name in classes if name not in before),
    )


def _check_options(config: Config, before: Config, run: Run) -> None:
    for key in ("model", "norm", "activation"):
        own, other = (getattr(one, key) or "null" for one in (config, before))
        if own != other:
            raise UsageError(
                f"init_from: {run.folder} has {key} {other}, not {own}; leave --{key} out"
            )


def _paired(model: Any, arrays: dict[str, np.ndarray], run: Run) -> list[tuple[Any, np.ndarray]]:
    """Every weight with its stored array; only the number of classes may differ."""
    names = sorted(arrays)  # which begin with their places
    ours = [_described(weight.path, weight.shape) for weight in model.weights]
    theirs = [_described(name.partition("/")[2], arrays[name].shape) for name in names]
    for own, other in zip_longest(ours, theirs, fillvalue="nothing"):
        if own != other:
            raise UsageError(
                f"init_from: {run.folder} has another network: {other} stands there where ours has {own}"
            )
    return [(weight, arrays[name]) for weight, name in zip(model.weights, names, strict=True)]


def _described(path: str, shape: Sequence[int]) -> str:
    sizes = [*map(str, shape[:-1]), "classes"] if path.startswith(_HEAD) else map(str, shape)
    return f"{path} [{', '.join(sizes)}]"
