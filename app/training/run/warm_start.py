"""Warm starts: a run that begins with the best weights of an earlier one, and no more."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.config import Config
from epochal.app.data.dataset import Dataset
from epochal.app.data.normalization import normalization_of
from epochal.app.errors import UsageError
from epochal.app.store.environment import InitFrom
from epochal.app.store.run import Run
from epochal.app.training.run.inheritance import SHARE_OF_PEAK, rate_to_go_on_at
from epochal.app.training.step.learning_rate import shape_of

_HEAD = "logits/"  # begins the paths of those weights that have something for every class
_JUMP = 3.0  # times the rate to go on at: beyond it, what was learned is at risk
_TOO_LOW = 0.01  # times the highest rate: below it, little is learned


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The run that first weights came from.

    Args:
        run: its folder
        weights: SHA-256 of its weights
        learning_rate, peak_rate: its last and its highest
        known_classes: of the new run, that the earlier one knew by name
        fresh_classes: of the new run, that it did not
    """

    run: str
    weights: str
    learning_rate: float
    peak_rate: float
    known_classes: tuple[str, ...]
    fresh_classes: tuple[str, ...]

    def record(self) -> InitFrom:
        """Return what the environment of the new run keeps of it."""
        return InitFrom(
            run=self.run,
            weights=self.weights,
            learning_rate=self.learning_rate,
        )

    def lines(self, config: Config, steps: int) -> list[str]:
        """Return what the user should know of the start of a run with this many steps an epoch."""
        known = len(self.known_classes)
        fresh = len(self.fresh_classes)
        line = f"starting from {self.run}: it knows none of the classes"
        if known:
            line = (
                f"starting from {self.run}: it knows {known} of the {known + fresh} classes by name"
            )
        if fresh:
            more = ", ..." if fresh > 5 else ""
            line += f"; the logits of {', '.join(self.fresh_classes[:5])}{more} start fresh"
        lines = [line]
        rate = rate_to_go_on_at(self.peak_rate, self.learning_rate)
        if math.isclose(config.peak_rate, rate, rel_tol=1e-6):
            arithmetic = f"{SHARE_OF_PEAK:g} x {self.peak_rate:g} = {rate:g}"
            if rate == self.learning_rate:
                arithmetic = f"{rate:g}, its last"
            lines.append(
                f"learning rate {arithmetic}: it was trained at up to {self.peak_rate:g} and ended "
                f"at {self.learning_rate:g}"
            )
        warning = self._warning(config, steps)
        if warning is not None:
            lines.append(warning)
        return lines

    def _warning(self, config: Config, steps: int) -> str | None:
        first_rate = config.peak_rate * shape_of(config, steps)(0)
        usual = rate_to_go_on_at(self.peak_rate, self.learning_rate)
        history = (
            f"{self.run} was trained at up to {self.peak_rate:g} and ended at "
            f"{self.learning_rate:g}"
        )
        if config.peak_rate < _TOO_LOW * self.peak_rate:
            return (
                f"warning: a learning rate of {config.peak_rate:g} will change little: {history}; "
                f"leave --learning-rate out to go on at {usual:g}"
            )
        if first_rate > _JUMP * usual:
            return (
                f"warning: a learning rate of {first_rate:g} may spoil what was learned: "
                f"{history}; leave --learning-rate out to go on at {usual:g}, or "
                "add --schedule.warm-up"
            )
        return None


def standardised_like(run: Run, dataset: Dataset) -> Dataset:
    """Return the data set with the normalisation by which the run's network reads images.

    Raises:
        UsageError: the images have other channels, or another size where each pixel has its own.
    """
    card = run.data_card()
    preprocessing = dataset.preprocessing
    if card.channels != preprocessing.channels:
        raise UsageError(
            f"init_from: {run.folder} reads {card.channels} channel(s), {dataset.name} has "
            f"{preprocessing.channels}; give a run on images of the same kind"
        )
    like_run = replace(
        preprocessing,
        mean=card.mean,
        deviation=card.deviation,
        normalization=normalization_of(run),
    )
    if card.normalization is not None and card.image_size != preprocessing.image_size:
        raise UsageError(
            f"init_from: {run.folder} has data.normalization {card.normalization} for images of "
            f"{card.image_size} pixels, not {preprocessing.image_size}; leave --image-size out"
        )
    return replace(dataset, preprocessing=like_run)


def take_over(model: Any, config: Config, classes: tuple[str, ...]) -> Origin:
    """Give the model the best weights of the run `config.init_from`; logits go by class names.

    Raises:
        UsageError: naming the first difference when that run has another network, before any weight
            is changed.
        StorageError: its files are damaged.
    """
    run = Run(Path(config.init_from or ""))
    best = run.best_weights()
    source = run.config()
    _check_options(config, source, run)
    classes_before = run.data_card().classes
    known = []
    fresh = []
    places = []
    places_before = []
    for place, name in enumerate(classes):
        if name in classes_before:
            known.append(name)
            places.append(place)
            places_before.append(classes_before.index(name))
        else:
            fresh.append(name)
    for weight, array in _pair_weights(model, best.arrays, run):
        value = array
        if weight.path.startswith(_HEAD):
            value = np.array(weight.numpy())
            value[..., places] = array[..., places_before]
        weight.assign(value)
    return Origin(
        run=str(run.folder),
        weights=best.sha256,
        learning_rate=run.last_rate(),
        peak_rate=source.peak_rate,
        known_classes=tuple(known),
        fresh_classes=tuple(fresh),
    )


def _check_options(config: Config, source: Config, run: Run) -> None:
    for key in ("model", "norm", "activation"):
        wanted = getattr(config, key) or "null"
        stored = getattr(source, key) or "null"
        if wanted != stored:
            raise UsageError(
                f"init_from: {run.folder} has {key} {stored}, not {wanted}; leave --{key} out"
            )
    for name in ("normalization", "components", "epsilon"):
        wanted = getattr(config.data, name)
        stored = getattr(source.data, name)
        if wanted != stored:
            raise UsageError(
                f"init_from: {run.folder} has data.{name} {stored}, not {wanted}; leave "
                f"--data.{name} out"
            )


def _pair_weights(
    model: Any, arrays: Mapping[str, np.ndarray], run: Run
) -> list[tuple[Any, np.ndarray]]:
    """Pair every weight with its stored array; only the number of classes may differ."""
    names = sorted(arrays)  # which begin with their places
    wanted = []
    for weight in model.weights:
        wanted.append(_describe(weight.path, weight.shape))
    stored = []
    for name in names:
        _, _, path = name.partition("/")
        stored.append(_describe(path, arrays[name].shape))
    for ours, theirs in zip_longest(wanted, stored, fillvalue="nothing"):
        if ours != theirs:
            raise UsageError(
                f"init_from: {run.folder} has another network: {theirs} stands there where ours "
                f"has {ours}"
            )
    pairs = []
    for weight, name in zip(model.weights, names, strict=True):
        pairs.append((weight, arrays[name]))
    return pairs


def _describe(path: str, shape: Sequence[int]) -> str:
    sizes = [str(size) for size in shape]
    if path.startswith(_HEAD):
        sizes = [*sizes[:-1], "classes"]
    return f"{path} [{', '.join(sizes)}]"
