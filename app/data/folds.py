"""Folds: ways to cut a pool of images into training and validation, stratified and seeded."""

from collections.abc import Callable, Sequence

import numpy as np

from epochal.app.config.splits import Splits
from epochal.app.errors import UsageError
from epochal.app.streams import fold_generator

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def fold_positions(
    labels: np.ndarray, classes: Sequence[str], splits: Splits, index: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the training and validation positions of one split of `range(len(labels))`.

    With folds, every position validates once a repetition; numbers of images a fold differ by at
    most one, those of each class too. A bootstrap (Efron 1979, "Bootstrap methods: another look at
    the jackknife") trains on as many images of each class as there are, drawn with replacement, and
    validates on those not drawn, about 36.8 %.

    Args:
        labels: int `[N]`, of the pool.
        classes: names, in the order of the labels.
        splits: of any kind but holdout, which the application carves off itself.
        index: of the split, from 0.
        seed: of the run; the result is a pure function of the arguments.

    Returns:
        Two sorted int64 arrays; positions to train on repeat in a bootstrap.

    Raises:
        UsageError: when a class has too few images.
    """
    _check_index(splits, index)
    repetition, place = divmod(index, splits.folds)
    random = fold_generator(seed, repetition)
    _check_classes(labels, classes, splits)
    if splits.kind == "bootstrap":
        train = _draw_by_class(labels, random, _draw_with_replacement)
        validation = np.setdiff1d(np.arange(len(labels)), train)
    else:
        # Dealt out to the folds as cards are, one class after the other.
        dealt = _draw_by_class(
            labels,
            random,
            np.random.Generator.permutation,
        )
        validation = dealt[place :: splits.folds]
        train = np.setdiff1d(dealt, validation)
    train = np.sort(train)
    validation = np.sort(validation)
    return train.astype(np.int64), validation.astype(np.int64)


def _check_index(splits: Splits, index: int) -> None:
    if splits.kind == "holdout" or not 0 <= index < splits.count:
        raise ValueError(
            f"index must be from 0 to below the {splits.count} splits of {splits}, got {index}."
        )


def _check_classes(labels: np.ndarray, classes: Sequence[str], splits: Splits) -> None:
    present, counts = np.unique(labels, return_counts=True)
    place = int(counts.argmin())
    smallest = counts[place]
    needed = max(2, splits.folds)
    if smallest >= needed:
        return
    purpose = "a bootstrap"
    if splits.folds > 1:
        purpose = f"{splits.folds} folds"
    raise UsageError(
        f"{splits}: class {classes[present[place]]!r} has {smallest} image(s), "
        f"at least {needed} are needed for {purpose}; give fewer folds or more images"
    )


def _draw_by_class(labels: np.ndarray, random: np.random.Generator, draw: Draw) -> np.ndarray:
    parts = []
    for label in np.unique(labels):
        parts.append(draw(random, np.flatnonzero(labels == label)))
    return np.concatenate(parts)


def _draw_with_replacement(random: np.random.Generator, members: np.ndarray) -> np.ndarray:
    """Draw as many as there are members, again and again until one is left to validate on."""
    while True:
        drawn = random.choice(members, len(members))
        if len(np.unique(drawn)) < len(members):
            return drawn
