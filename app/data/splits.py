"""Carves missing splits off, stratified and seeded."""

import numpy as np

from epochal.app.errors import UsageError


def stratified(labels: np.ndarray, fractions: tuple[float, ...], seed: int) -> list[np.ndarray]:
    """Cuts `range(len(labels))` into parts with the given fractions of every class.

    Args:
        labels: int `[N]`.
        fractions: positive, summing to 1.
        seed: the cut is a pure function of labels, fractions and seed.

    Returns:
        One sorted int64 array of positions per fraction; together they hold every position once. Every class has
        at least one image in every part.

    Raises:
        UsageError: when a class has fewer images than there are parts.
    """
    generator = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in fractions]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        if len(members) < len(fractions):
            raise UsageError(
                f"class {label} has {len(members)} image(s), needs at least {len(fractions)} to be split; "
                "add images or give train, val and test folders"
            )
        for part, cut in zip(parts, np.split(members, _cuts(len(members), fractions)), strict=True):
            part.append(cut)
    return [np.sort(np.concatenate(part)).astype(np.int64) for part in parts]


def _cuts(count: int, fractions: tuple[float, ...]) -> np.ndarray:
    """Where to cut `count` items: rounded, and every part gets at least one."""
    ends = np.round(np.cumsum(fractions)[:-1] * count).astype(int)
    for i in range(len(ends)):
        ends[i] = max(ends[i], (ends[i - 1] if i else 0) + 1)
    for i in reversed(range(len(ends))):
        ends[i] = min(ends[i], (ends[i + 1] if i + 1 < len(ends) else count) - 1)
    return ends
