"""Splits: what is lacking of train, validation and test is carved off, stratified and seeded."""

from collections.abc import Sequence

import numpy as np

from epochal.app.config import Config
from epochal.app.config.splits import Fold
from epochal.app.data.dataset import Split
from epochal.app.data.folds import fold_positions
from epochal.app.errors import UsageError
from epochal.app.streams import split_generator

NAMES = ("train", "validation", "test")
_SHARE_OF_ALL = 0.2  # for validation and test each, where a data set has a single split
_SHARE_OF_TRAIN = 0.1


def make_splits(
    given: dict[str, Split],
    classes: Sequence[str],
    config: Config,
    groups: np.ndarray | None = None,
) -> tuple[dict[str, Split], list[tuple[str, int]]]:
    """Return train, validation and test as a configuration wants them.

    Args:
        given: the splits of the source
        classes: their names, in the order of the labels
        config: of the run
        groups: int `[N]` over the store of the split that others are carved off; images of one
            group, near duplicates, are brought into one split, which is train. None leaves them.

    Returns:
        The splits; and the images that were moved into train, each by the split that it was in and
        its index in the store.

    Raises:
        UsageError: a class has too few images; or all images of a split were moved.
    """
    splits = carve_missing_splits(given, classes, config.seed, config.data.validation)
    carved = [name for name in NAMES if name not in given and name != "train"]
    moved = []
    if groups is not None:
        moved += move_copies(splits, carved, groups)
    if config.data.split is not None:
        pool = splits["train"]
        if "validation" not in given:
            pool = join(pool, splits["validation"])
        splits |= resplit(pool, classes, config.data.fold, config.seed)
        if groups is not None and config.data.fold is not None:
            moved = [entry for entry in moved if entry[0] != "validation"]
            moved += move_copies(splits, ["validation"], groups)
    if config.data.part is not None:
        splits["train"] = part_of(splits["train"], classes, config.data.part, config.seed)
    return splits, moved


def move_copies(
    splits: dict[str, Split], carved: Sequence[str], groups: np.ndarray
) -> list[tuple[str, int]]:
    """Move images whose group lies in several splits to train, in place.

    Args:
        splits: train and others; those in `carved` are of the same store
        carved: the splits that images may be taken out of
        groups: int `[N]`, of every image of the store

    Returns:
        Split and index of each image that was moved.

    Raises:
        UsageError: nothing is left of a split.
    """
    num_splits = np.zeros(groups.max(initial=-1) + 1, int)
    for name in ("train", *carved):
        present = np.unique(groups[splits[name].indices])
        num_splits[present] += 1
    moved = []
    for name in carved:
        split = splits[name]
        is_copy = num_splits[groups[split.indices]] > 1
        copies = split.subset(np.flatnonzero(is_copy))
        if is_copy.all() and len(split):
            raise UsageError(
                f"data.near_duplicates: all {len(split)} {name} images have near duplicates in "
                "other splits; remove copies from the data set, or give it splits of its own"
            )
        splits[name] = split.subset(np.flatnonzero(~is_copy))
        splits["train"] = join(splits["train"], copies)
        moved += [(name, int(index)) for index in copies.indices]
    return moved


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
