"""Alignment of two pictures: what differs between them beyond a small crop, gain and offset."""

import math

import numpy as np

SIDE = 32  # pixels of the pictures that are compared
_MARGIN = 2  # pixels at the edges that are not compared: a crop lost them
_ROUNDS = 3  # of Gauss and Newton
_FARTHEST = 2.0  # pixels by which an edge may move
_STIFFNESS = 100.0  # of the moves, in levels squared: noise must not look like a move
_LEAST_VARIANCE = 1.0  # in levels squared; below, a picture shows nothing
_NEARLY = 3.0  # times the limit: less in one direction may be below the limit in the other
_BLOCK = 2048  # pairs at a time

# From the centre to the edges of a picture.
_PLACES = np.linspace(-1, 1, SIDE, dtype=np.float32)


def differences(pictures: np.ndarray, pairs: np.ndarray, *, limit: float = math.inf) -> np.ndarray:
    """Return for each pair the share of a picture's variance that the other one cannot explain.

    The other may be moved and stretched by up to two pixels of 32 in each direction, and its
    contrast and brightness changed; the best fit counts, of the first by the second or of the
    second by the first. Copies that were recoded, cropped by a few percent and scaled are below
    0.03, which few different photographs are.

    Lucas and Kanade 1981, "An iterative image registration technique", with four parameters.

    Args:
        pictures: grey, uint8 `[N, 32, 32]`.
        pairs: places of pictures, int `[P, 2]`.
        limit: what is above in one direction by far need not be exact.

    Returns:
        float32 `[P]`, 0 for equal pictures.
    """
    shares = np.empty(len(pairs), np.float32)
    for start in range(0, len(pairs), _BLOCK):
        block = pairs[start : start + _BLOCK]
        first = _blur(pictures[block[:, 0]].astype(np.float32))
        second = _blur(pictures[block[:, 1]].astype(np.float32))
        fits = _fit(first, second)
        is_near = np.flatnonzero(fits <= _NEARLY * limit)
        others = _fit(second[is_near], first[is_near])
        fits[is_near] = np.minimum(fits[is_near], others)
        shares[start : start + _BLOCK] = fits
    return shares


def _blur(pictures: np.ndarray) -> np.ndarray:
    """Smooth by (1, 2, 1) / 4 in both directions, against the blocks of JPEG."""
    for axis in (1, 2):
        widths = [(0, 0), (0, 0), (0, 0)]
        widths[axis] = (1, 1)
        padded = np.pad(pictures, widths, mode="edge")
        before = padded.take(range(SIDE), axis)
        here = padded.take(range(1, SIDE + 1), axis)
        after = padded.take(range(2, SIDE + 2), axis)
        pictures = (before + 2 * here + after) / 4
    return pictures


def _fit(moved: np.ndarray, still: np.ndarray) -> np.ndarray:
    """Return the share of the variance of `still` that is left after the best fit of `moved`."""
    inner = slice(_MARGIN, -_MARGIN)
    count = len(still)
    target = still[:, inner, inner].reshape(count, -1)
    target = target - target.mean(1, keepdims=True)
    variance = np.maximum((target**2).mean(1), _LEAST_VARIANCE)
    moves = np.zeros((count, 4), np.float32)
    best = np.full(count, np.inf, np.float32)
    for step in range(_ROUNDS + 1):
        warped = _warp(moved, moves)
        slope_y, slope_x = np.gradient(warped, axis=(1, 2))
        planes = np.stack(
            [warped, slope_x, slope_x * _PLACES, slope_y, slope_y * _PLACES[:, None]], axis=1
        )
        planes = planes[:, :, inner, inner].reshape(count, 5, -1)
        planes = planes - planes.mean(2, keepdims=True)
        products = planes @ planes.transpose(0, 2, 1)
        wanted = planes @ target[:, :, None]
        energy = np.maximum(products[:, 0, 0], 1e-3)
        gain = wanted[:, 0, 0] / energy
        # Of the fit by gain and offset alone.
        rest = (target**2).mean(1) - gain * wanted[:, 0, 0] / target.shape[1]
        best = np.minimum(best, np.maximum(rest, 0) / variance)
        if step == _ROUNDS:
            break
        products[:, range(5), range(5)] += _STIFFNESS
        solved = np.linalg.solve(products, wanted)[:, :, 0]
        scale = np.maximum(np.abs(solved[:, :1]), 0.2)
        moves = np.clip(moves + solved[:, 1:] / scale, -_FARTHEST, _FARTHEST)
    return best


def _warp(pictures: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Sample pictures at moved places, bilinearly: shift and stretch by x, then by y, `[n, 4]`."""
    columns = _weights(moves[:, 0], moves[:, 1])
    rows = _weights(moves[:, 2], moves[:, 3])
    return rows @ pictures @ columns.transpose(0, 2, 1)


def _weights(shift: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Return the weight of each pixel at each moved place, float32 `[n, 32, 32]`."""
    pixels = np.arange(SIDE, dtype=np.float32)
    places = pixels + shift[:, None] + stretch[:, None] * _PLACES
    places = np.clip(places, 0, SIDE - 1)
    distances = np.abs(places[:, :, None] - pixels)
    return np.maximum(1 - distances, 0)
