"""Random streams by purpose: two things that are drawn in one run never share their numbers by accident."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *more: int) -> np.random.Generator:
    """Return the stream of random numbers for one purpose.

    Args:
        seed: the run's `seed`.
        purpose: for whom the numbers are, such as "curvature"; another purpose is another stream.
        more: what tells draws for the same purpose apart, such as the epoch.
    """
    return np.random.default_rng([zlib.crc32(purpose.encode()), seed, *more])
