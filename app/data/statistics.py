"""Mean and deviation of the training images, per channel, in units of 0..255."""

import numpy as np

from app.data.dataset import Split

_BLOCK = 1024
_SAMPLE = 20_000  # images that stand for a streamed split: the mean is then known to 0.5 % of a deviation


def mean_and_deviation(split: Split, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per-channel mean and standard deviation over the pixels of the split (of 20,000 images of a larger streamed one).

    A channel without variance gets deviation 1, so that it is centred and never divided by zero.
    """
    import tensorflow as tf

    from app.data.dataset import Streamed

    indices = split.indices
    if isinstance(split.images, Streamed) and len(indices) > _SAMPLE:
        indices = np.random.default_rng(seed).choice(indices, _SAMPLE, replace=False)
    read = tf.function(split.images.reader())
    total, squares = np.zeros(1), np.zeros(1)  # one value a channel after the first block
    pixels = 0
    for start in range(0, len(indices), _BLOCK):
        block = read(tf.constant(indices[start : start + _BLOCK])).numpy()
        values = np.arange(256, dtype=np.float64)
        counts = np.stack([np.bincount(block[..., c].ravel(), minlength=256) for c in range(block.shape[-1])])
        total, squares = total + counts @ values, squares + counts @ values**2
        pixels += block[..., 0].size
    mean = total / pixels
    deviation = np.sqrt(np.maximum(squares / pixels - mean**2, 0))
    deviation = np.where(deviation < 1e-6, 1.0, deviation)
    return tuple(mean.tolist()), tuple(deviation.tolist())
