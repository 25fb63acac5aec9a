"""Gaussian smoothing as multiplication by a matrix, the border mirrored."""

import math
from functools import cache

import numpy as np

_REACH = 4  # deviations, as SciPy's gaussian_filter


def reach_of(sigma: float) -> int:
    """Return the pixels on either side that a Gaussian of this deviation takes in."""
    return max(1, math.ceil(_REACH * sigma))


@cache
def neighbours(side: int, reach: int) -> np.ndarray:
    """Return which pixel lies at each distance from each, float32 `[2 reach + 1, side, side]`.

    Element (d, i, j) is 1 where j is the pixel at distance d - reach from i, the border mirrored at
    its outermost pixels.
    """
    places = np.arange(side)
    last = side - 1
    matrices = np.zeros((2 * reach + 1, side, side), np.float32)
    for index, distance in enumerate(range(-reach, reach + 1)):
        folded = np.abs(places + distance) % (2 * last)
        columns = last - np.abs(last - folded)
        matrices[index, places, columns] = 1
    return matrices


@cache
def smoothing_matrix(side: int, sigma: float) -> np.ndarray:
    """Return the matrix that smooths a column of pixels, float32 `[side, side]`; rows sum to 1."""
    reach = reach_of(sigma)
    distances = np.arange(-reach, reach + 1)
    shares = np.exp(-0.5 * (distances / sigma) ** 2)
    shares /= shares.sum()
    matrix = np.tensordot(shares, neighbours(side, reach), axes=1)
    return matrix.astype(np.float32)
