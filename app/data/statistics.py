"""Statistics of the training images' levels: mean, deviation and covariance of their channels."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from epochal.app.data.dataset import Split, StreamedImages
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape
from epochal.app.streams import sample_generator

# Images that stand for a larger streamed split: the mean is then known to 0.5 % of a deviation.
_SAMPLE = 20_000
_LEVELS = 256


def mean_and_deviation(
    split: Split, shape: ImageShape, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and standard deviation over the split's stored pixels.

    A channel without variance gets deviation 1, so that it is centred and never divided by zero.

    Args:
        split: of a larger streamed one, 20,000 images are read.
        shape: sizes of the split's images.
        seed: of the run; chooses the sample.
    """
    counts = np.zeros((shape.channels, _LEVELS), np.int64)
    for images in _stored_images(split, shape, seed):
        for channel in range(shape.channels):
            levels = images[..., channel].ravel()
            counts[channel] += np.bincount(levels, minlength=_LEVELS)
    levels = np.arange(_LEVELS, dtype=np.float64)
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
    for images in _stored_images(split, shape, seed):
        pixels = images.reshape(-1, channels).astype(np.float64) / (_LEVELS - 1)
        sums += pixels.sum(axis=0)
        products += pixels.T @ pixels
        num_pixels += len(pixels)
    mean = sums / num_pixels
    return products / num_pixels - np.outer(mean, mean)


def _stored_images(split: Split, shape: ImageShape, seed: int) -> Iterator[np.ndarray]:
    """Yield batches of stored images, of a large streamed split a sample of them."""
    if isinstance(split.images, StreamedImages) and len(split) > _SAMPLE:
        sample = sample_generator(seed).choice(
            len(split),
            _SAMPLE,
            replace=False,
        )
        split = split.subset(sample)
    uncropped = replace(shape, image_size=shape.stored_size)
    for images, _ in evaluation_batches(split, uncropped).as_numpy_iterator():
        yield images
