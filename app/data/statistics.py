"""Statistics of the training images' levels: mean, deviation and covariance of their channels."""

from dataclasses import replace

import numpy as np

from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape
from epochal.app.streams import sample_generator

# Images that stand for a larger streamed split: the mean is then known to 0.5 % of a deviation.
_SAMPLE = 20_000
_LEVELS = 256


def mean_and_deviation(
    split: Split, shape: ImageShape, seed: int, *, of_range: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and standard deviation over the split's stored pixels.

    A channel without variance gets deviation 1, so that it is centred and never divided by zero.

    Args:
        split: of a larger streamed one, 20,000 images are read.
        shape: sizes of the split's images.
        seed: of the run; chooses the sample.
        of_range: return the darkest level and the distance from it to the brightest instead, by
            which images get values from 0 to 1.
    """
    split = sample_of(split, seed)
    counts = _count_levels(split, shape)
    levels = np.arange(_LEVELS, dtype=np.float64)
    if of_range:
        darkest = (counts > 0).argmax(axis=1)
        brightest = _LEVELS - 1 - (counts[:, ::-1] > 0).argmax(axis=1)
        ranges = np.maximum(brightest - darkest, 1)
        return tuple(darkest.astype(float).tolist()), tuple(ranges.astype(float).tolist())
    num_pixels = counts[0].sum()
    mean = counts @ levels / num_pixels
    mean_square = counts @ levels**2 / num_pixels
    variance = mean_square - mean**2
    variance = np.maximum(variance, 0)
    deviation = np.sqrt(variance)
    is_constant = deviation < 1e-6
    deviation = np.where(is_constant, 1.0, deviation)
    return tuple(mean.tolist()), tuple(deviation.tolist())


def channel_covariance(split: Split, shape: ImageShape, seed: int) -> np.ndarray:
    """Return the covariance of the channels over the split's stored pixels, float64 `[C, C]`.

    Levels are from 0 to 1 here, as in Krizhevsky et al. 2012, section 4.1.

    Args:
        split: of a larger streamed one, 20,000 images are read.
        shape: sizes of the split's images.
        seed: of the run; chooses the sample.
    """
    channels = shape.channels
    sums = np.zeros(channels)
    products = np.zeros((channels, channels))
    num_pixels = 0
    uncropped = replace(shape, image_size=shape.stored_size)
    batches = evaluation_batches(sample_of(split, seed), uncropped)
    for images, _ in batches.as_numpy_iterator():
        pixels = images.reshape(-1, channels).astype(np.float64) / (_LEVELS - 1)
        sums += pixels.sum(axis=0)
        products += pixels.T @ pixels
        num_pixels += len(pixels)
    mean = sums / num_pixels
    return products / num_pixels - np.outer(mean, mean)


def sample_of(split: Split, seed: int) -> Split:
    """Return the images that stand for a split: all, or 20,000 of a larger streamed one."""
    if isinstance(split.images, CachedImages) or len(split) <= _SAMPLE:
        return split
    sample = sample_generator(seed).choice(
        len(split),
        _SAMPLE,
        replace=False,
    )
    return split.subset(sample)


def _count_levels(split: Split, shape: ImageShape) -> np.ndarray:
    """Return how many pixels of each channel have each level, int64 `[C, 256]`."""
    uncropped = replace(shape, image_size=shape.stored_size)
    counts = np.zeros((shape.channels, _LEVELS), np.int64)
    batches = evaluation_batches(split, uncropped)
    for images, _ in batches.as_numpy_iterator():
        for channel in range(shape.channels):
            levels = images[..., channel].ravel()
            counts[channel] += np.bincount(levels, minlength=_LEVELS)
    return counts


def condition_number(features: np.ndarray) -> float:
    """Return the condition number of X'X, by which the steps of gradient descent grow.

    X'X is the curvature of a linear unit's squared error: along its flattest direction the error
    falls so many times slower than along its steepest. Two cases with two features each, (101, 101)
    and (101, 99), have 40,006; 100 subtracted they are (1, 1) and (1, -1), which have 1.0. Of
    (0.1, 10) and (0.1, -10) it is 10,000; divided by 0.1 and 10 they have 1.0, too.

    Source: LeCun et al. 1998, "Efficient BackProp", section 4.3.

    Args:
        features: X, float `[N, D]` with N at least D.
    """
    values = np.linalg.svd(np.asarray(features, np.float64), compute_uv=False)
    return float((values[0] / values[-1]) ** 2)
