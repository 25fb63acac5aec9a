"""Splits: what is lacking of train, validation and test is carved off, stratified and seeded."""

from collections.abc import Sequence

import numpy as np

from epochal.app.config.splits import Fold
from epochal.app.data.dataset import Split
from epochal.app.data.folds import fold_positions
from epochal.app.errors import UsageError
from epochal.app.streams import split_generator

NAMES = ("train", "validation", "test")
_SHARE_OF_ALL = 0.2  # for validation and test each, where a data set has a single split
_SHARE_OF_TRAIN = 0.1


def carve_missing_splits(
    splits: dict[str, Split], classes: Sequence[str], seed: int, validation: float | None = None
) -> dict[str, Split]:
    """Return train, validation and test; what is lacking becomes a part of train.

    A single split is cut 60/20/20; else 10 % of train each become validation and test. A test split
    that exists is never touched.

    Args:
        splits: some of these, or one of any other name
        classes: their names, in the order of the labels
        seed: of the run
        validation: another share for the validation split.
    """
    present = {name: split for name, split in splits.items() if name in NAMES}
    share = _SHARE_OF_TRAIN
    if set(present) <= {"train"}:
        present = {"train": next(iter(splits.values()))}
        share = _SHARE_OF_ALL
    missing = {}
    for name in NAMES:
        if name not in present:
            missing[name] = share
    if not missing:
        return present
    if "validation" in missing and validation is not None:
        missing["validation"] = validation
    left_for_train = 1 - sum(missing.values())
    fractions = (left_for_train, *missing.values())
    uncut = present["train"]
    parts = stratified_parts(uncut.labels, classes, fractions, seed)
    for name, part in zip(("train", *missing), parts, strict=True):
        present[name] = uncut.subset(part)
    return present


def resplit(pool: Split, classes: Sequence[str], fold: Fold | None, seed: int) -> dict[str, Split]:
    """Return the splits that a fold makes of the pool; without a fold, all of it is trained on."""
    if fold is None:
        return {"train": pool}
    train, validation = fold_positions(
        pool.labels,
        classes,
        fold.splits,
        fold.number - 1,
        seed,
    )
    return {"train": pool.subset(train), "validation": pool.subset(validation)}


def join(first: Split, second: Split) -> Split:
    """Return two splits of one store as one, in the order of their images."""
    indices = np.concatenate([first.indices, second.indices])
    labels = np.concatenate([first.labels, second.labels])
    return Split(
        first.images,
        indices,
        labels,
    ).subset(np.argsort(indices))


def part_of(split: Split, classes: Sequence[str], share: float, seed: int) -> Split:
    """Return a share of a split's images, the same of every class."""
    part, _ = stratified_parts(split.labels, classes, (share, 1 - share), seed)
    return split.subset(part)


def stratified_parts(
    labels: np.ndarray, classes: Sequence[str], fractions: tuple[float, ...], seed: int
) -> list[np.ndarray]:
    """Cut `range(len(labels))` into parts with the same fractions of every class.

    Args:
        labels: int `[N]`.
        classes: names, in the order of the labels.
        fractions: positive, summing to 1.
        seed: the cut is a pure function of labels, fractions and seed.

    Returns:
        One sorted int64 array of positions per fraction; together they hold every position once.
        Every class has at least one image in every part.

    Raises:
        UsageError: when a class has fewer images than there are parts.
    """
    random = split_generator(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        in_order = np.flatnonzero(labels == label)
        members = random.permutation(in_order)
        if len(members) < len(fractions):
            raise UsageError(
                f"class {classes[label]!r} has {len(members)} image(s), needs at least "
                f"{len(fractions)} to be split; add images or give train, val and test folders"
            )
        cuts = _cuts(len(members), fractions)
        pieces = np.split(members, cuts)
        for part, piece in zip(parts, pieces, strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def _cuts(count: int, fractions: tuple[float, ...]) -> np.ndarray:
    """Return where to cut `count` items: rounded, and every part gets at least one."""
    ends = np.cumsum(fractions)[:-1] * count
    cuts = np.round(ends).astype(int)
    least = 1
    for i in range(len(cuts)):
        cuts[i] = max(cuts[i], least)
        least = cuts[i] + 1
    most = count - 1
    for i in reversed(range(len(cuts))):
        cuts[i] = min(cuts[i], most)
        most = cuts[i] - 1
    return cuts
