"""Mean and deviation of the training images, per channel, in units of 0..255."""

import numpy as np

from epochal.app.data.dataset import Split, Streamed
from epochal.app.data.pipeline import evaluation_batches

_SAMPLE = (
    20_000  # images that stand for a streamed split: the mean is then known to 0.5 % of a deviation
)


def mean_and_deviation(
    split: Split, stored_size: int, seed: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation over the pixels of the split (of 20,000 images of a larger streamed one).

    A channel without variance gets deviation 1, so that it is centred and never divided by zero.
    """
    if isinstance(split.images, Streamed) and len(split) > _SAMPLE:
        split = split.subset(np.random.default_rng(seed).choice(len(split), _SAMPLE, replace=False))
    counts = np.zeros((1, 256), np.int64)  # one row a channel after the first batch
    for images, _ in evaluation_batches(split, stored_size).as_numpy_iterator():
        channels = range(images.shape[-1])
        counts = counts + np.stack(
            [np.bincount(images[..., c].ravel(), minlength=256) for c in channels]
        )
    levels = np.arange(256, dtype=np.float64)
    pixels = counts[0].sum()
    mean = counts @ levels / pixels
    deviation = np.sqrt(np.maximum(counts @ levels**2 / pixels - mean**2, 0))
    deviation = np.where(deviation < 1e-6, 1.0, deviation)
    return tuple(mean.tolist()), tuple(deviation.tolist())
