"""The splits of a pool that a configuration is scored over: stratified, seeded, by index."""

from collections.abc import Callable

import numpy as np

from epochal.app.config.splits import Splits
from epochal.app.errors import UsageError

_STREAM = 0xF01D  # of random numbers: the test split is carved off by others

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def fold(
    labels: np.ndarray, splits: Splits, index: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """One of the splits of `range(len(labels))`: a pure function of its arguments.

    With folds, every position validates once a repetition; numbers of images a fold differ by at most one, those of
    each class too. A bootstrap (Efron 1979, "Bootstrap methods: another look at the jackknife") trains on as many
    images of each class as there are, drawn with replacement, and validates on those not drawn, about 36.8 %.

    Args:
        labels: int `[N]`, of the pool.
        splits: of any kind but holdout, which the application carves off itself.
        index: of the split, from 0.
        seed: of the run.

    Returns:
        Positions to train on and to validate on, int64, each sorted; those of a bootstrap to train on repeat.

    Raises:
        UsageError: when a class has too few images.
    """
    if splits.kind == "holdout" or not 0 <= index < splits.count:
        raise ValueError(
            f"index must be from 0 to below the {splits.count} splits of {splits}, got {index}."
        )
    repetition, place = divmod(index, splits.folds)
    random = np.random.default_rng([_STREAM, seed, repetition])
    _check_classes(labels, splits)
    if splits.kind == "bootstrap":
        train = _by_class(labels, random, _drawn)
        validation = np.setdiff1d(np.arange(len(labels)), train)
    else:
        dealt = _by_class(
            labels, random, np.random.Generator.permutation
        )  # as cards are, one class after the other
        validation = dealt[place :: splits.folds]
        train = np.setdiff1d(dealt, validation)
    return np.sort(train).astype(np.int64), np.sort(validation).astype(np.int64)


def _check_classes(labels: np.ndarray, splits: Splits) -> None:
    classes, counts = np.unique(labels, return_counts=True)
    smallest = int(counts.argmin())
    needed = max(2, splits.folds)
    if counts[smallest] < needed:
        wanted = f"{splits.folds} folds" if splits.folds > 1 else "a bootstrap"
        raise UsageError(
            f"{splits}: class {classes[smallest]} has {counts[smallest]} image(s), at least {needed} are needed for "
            f"{wanted}; give fewer folds or more images"
        )


def _by_class(labels: np.ndarray, random: np.random.Generator, draw: Draw) -> np.ndarray:
    return np.concatenate(
        [draw(random, np.flatnonzero(labels == label)) for label in np.unique(labels)]
    )


def _drawn(random: np.random.Generator, members: np.ndarray) -> np.ndarray:
    """As many of a class with replacement; once more where that left none to validate on."""
    while True:
        drawn = random.choice(members, len(members))
        if len(np.unique(drawn)) < len(members):
            return drawn
