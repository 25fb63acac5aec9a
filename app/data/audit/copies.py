"""Near duplicates: pictures that are the same but for recoding, a slight crop and brightness.

Candidates are nearest neighbours of small descriptors; each is verified on its pixels. A threshold
alone would not do: photographs of one class differ by much, handwritten ones by very little. So a
copy must also be far nearer than other pictures that look like it.
"""

from collections.abc import Callable, Iterator

import numpy as np

from epochal.app.data.audit.alignment import SIDE, differences

_FREQUENCIES = 10  # of the cosine transform in each direction
_NEAR = 0.84  # cosine of descriptors; less are no candidates
_LARGEST = 0.03  # difference of copies
_RATIO = 0.08  # of a copy's difference to that of other pictures like it
_CERTAIN = 0.001  # difference below which other pictures do not matter
# Other pictures like it: those with these ranks among its neighbours, so that a dozen copies of one
# picture do not hide each other.
_RANKS = (12, 14, 16, 18, 20)
_FLAT = 1.0  # standard deviation in levels; below, a picture shows nothing
_BLOCK = 256  # rows of the matrix of cosines at a time
_NEIGHBOURS = 8  # of a copy, among all copies

# Told how many of how many steps are done.
Progress = Callable[[int, int], None]


def find_copies(
    pictures: np.ndarray, progress: Progress = lambda done, steps: None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs of near duplicates among pictures.

    The result is a pure function of the pictures and of their order. Time grows with the square of
    their number, memory with the number: 0.4 KB each beside the pictures.

    Args:
        pictures: grey, uint8 `[N, 32, 32]`, no two of them equal.
        progress: told of the blocks of the search.

    Returns:
        Pairs of places, int64 `[P, 2]`, the smaller place first, in order; and the difference of
        each, float32 `[P]`, as `alignment.differences` defines it.
    """
    shown = np.flatnonzero(pictures.std(axis=(1, 2)) >= _FLAT)
    if len(shown) < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    pictures = pictures[shown]
    descriptors = describe(pictures)
    pairs = _nearest_pairs(descriptors, progress)
    pairs, shares = _verified(pictures, descriptors, pairs)
    # Of three copies one may be nobody's nearest.
    members = np.unique(pairs)
    more = _pairs_among(descriptors, members)
    more = more[~_contains(pairs, more)]
    more, more_shares = _verified(pictures, descriptors, more)
    pairs = np.concatenate([pairs, more])
    shares = np.concatenate([shares, more_shares])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return shown[pairs[order]], shares[order]


def describe(pictures: np.ndarray) -> np.ndarray:
    """Return unit vectors, float32 `[N, 99]`: low frequencies of the cosine transform.

    Frequencies weigh less the more they vary over the pictures, by the root of that: in a set of
    pictures that are much alike, what tells them apart must count.

    Args:
        pictures: grey, uint8 `[N, 32, 32]`.
    """
    places = np.arange(SIDE) + 0.5
    frequencies = np.arange(_FREQUENCIES)
    waves = np.cos(np.pi / SIDE * np.outer(frequencies, places)).astype(np.float32)
    vectors = np.empty((len(pictures), _FREQUENCIES**2 - 1), np.float32)
    for start in range(0, len(pictures), _BLOCK):
        block = pictures[start : start + _BLOCK].astype(np.float32)
        transformed = waves @ block @ waves.T
        # Without the mean.
        vectors[start : start + _BLOCK] = transformed.reshape(len(block), -1)[:, 1:]
    vectors = _unit(vectors)
    deviation = vectors.std(0)
    vectors /= np.sqrt(np.maximum(deviation, 1e-3 * deviation.max() + 1e-6))
    return _unit(vectors)


def group(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return the number of the group of each of `count` things, int32; pairs are in one group."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    edges = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, groups = connected_components(edges, directed=False)
    return groups


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-6)


def _nearest_pairs(descriptors: np.ndarray, progress: Progress) -> np.ndarray:
    """Return each picture with its nearest, where that is near enough; every pair once."""
    steps = -(-len(descriptors) // _BLOCK)
    found = []
    for step, (rows, cosines) in enumerate(_cosines(descriptors, np.arange(len(descriptors)))):
        nearest = cosines.argmax(1)
        is_near = cosines[np.arange(len(rows)), nearest] >= _NEAR
        found.append(np.stack([rows[is_near], nearest[is_near]], axis=1))
        progress(step + 1, steps)
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def _cosines(descriptors: np.ndarray, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield some rows at a time, and their cosines with all; that with itself is the smallest.

    The cosines are valid until the next are asked for.
    """
    # One buffer: memory that is new each time costs as much as the product.
    buffer = np.empty((_BLOCK, len(descriptors)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        cosines = buffer[: len(block)]
        np.matmul(descriptors[block], descriptors.T, out=cosines)
        cosines[np.arange(len(block)), block] = -2
        yield block, cosines


def _verified(
    pictures: np.ndarray, descriptors: np.ndarray, pairs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return those pairs that are copies, and their differences."""
    shares = differences(pictures, pairs, limit=_LARGEST)
    is_alike = shares <= _LARGEST
    pairs = pairs[is_alike]
    shares = shares[is_alike]
    members, places = np.unique(pairs, return_inverse=True)
    usual = _usual_differences(pictures, descriptors, members)
    of_both = usual[places.reshape(pairs.shape)].min(1)
    is_copy = (shares <= _RATIO * of_both) | (shares <= _CERTAIN)
    return pairs[is_copy], shares[is_copy]


def _usual_differences(
    pictures: np.ndarray, descriptors: np.ndarray, members: np.ndarray
) -> np.ndarray:
    """Return the median difference of each member to other pictures like it, float32 `[M]`."""
    most = len(pictures) - 2
    ranks = np.unique(np.minimum(_RANKS, most))
    if most < 1:
        return np.full(len(members), np.inf, np.float32)
    found = [np.zeros(0, np.float32)]
    for rows, cosines in _cosines(descriptors, members):
        falling = np.argpartition(-cosines, ranks, axis=1)
        others = falling[:, ranks]
        pairs = np.stack([np.repeat(rows, len(ranks)), others.ravel()], axis=1)
        shares = differences(pictures, pairs).reshape(others.shape)
        found.append(np.median(shares, axis=1))
    return np.concatenate(found)


def _pairs_among(descriptors: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return each member with its nearest members, int64 `[P, 2]`, every pair once."""
    some = descriptors[members]
    found = [np.zeros((0, 2), np.int64)]
    count = min(_NEIGHBOURS, len(members) - 1)
    for rows, cosines in _cosines(some, np.arange(len(members))):
        falling = np.argpartition(-cosines, range(count), axis=1)[:, :count]
        is_near = np.take_along_axis(cosines, falling, axis=1) >= _NEAR
        from_rows = np.repeat(rows, is_near.sum(1))
        found.append(np.stack([members[from_rows], members[falling[is_near]]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def _contains(pairs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Tell of other pairs whether they are among the pairs, bool `[P]`."""
    known = set(map(tuple, pairs.tolist()))
    return np.array([tuple(pair) in known for pair in others.tolist()], bool)
