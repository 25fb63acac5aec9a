"""Random streams by purpose: two things that are drawn in one run never share their numbers by
accident.
"""

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


# Streams that figures and runs which exist already depend on: their numbers must never change, so
# they are made here, in the way they were made before streams had purposes. The epoch's permutation
# and the augmentation draw from TensorFlow's counter-based generators (app/data/augment/draws.py)
# and are as fixed as these.

_FOLDS = 0xF01D


def split_generator(seed: int) -> np.random.Generator:
    """Return the stream that carves validation and test splits, or a part, off a data set."""
    return np.random.default_rng(seed)


def sample_generator(seed: int) -> np.random.Generator:
    """Return the stream that chooses the images over which a large data set's mean and deviation
    are taken.
    """
    return np.random.default_rng(seed)


def fold_generator(seed: int, repetition: int) -> np.random.Generator:
    """Return the stream of one repetition of cross-validation, or of one bootstrap."""
    return np.random.default_rng([_FOLDS, seed, repetition])


def order_generator(seed: int, epoch: int) -> np.random.Generator:
    """Return the stream that orders the images of one epoch where they are not simply shuffled."""
    return np.random.default_rng([seed, epoch])
