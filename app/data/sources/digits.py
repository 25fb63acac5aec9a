"""Digits: 1,797 handwritten ones inside scikit-learn, 8 x 8 pixels, 16 grey levels."""

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.dataset import CachedImages, RawDataset, Split
from epochal.app.data.decoding import resize
from epochal.app.data.sources.shared import choose_shape

_SIDE = 8
_BRIGHTEST = 16  # of scikit-learn's levels, which begin at 0


def read(config: Config) -> RawDataset:
    """Return the digits as one split, in the sizes that the configuration asks for."""
    shape = choose_shape(config, _SIDE, channels=1)
    split, classes = load(shape.stored_size)
    return RawDataset(
        splits={"all": split},
        classes=classes,
        shape=shape,
        native_size=_SIDE,
    )


def load(size: int) -> tuple[Split, tuple[str, ...]]:
    """Return all digits as one split, scaled to a side of `size` pixels, and the class names."""
    from sklearn.datasets import load_digits

    levels, labels = load_digits(return_X_y=True)
    grey = np.round(levels * (255 / _BRIGHTEST))
    images = grey.astype(np.uint8).reshape(-1, _SIDE, _SIDE, 1)
    with tf.device("CPU:0"):
        stored = CachedImages(resize(tf.constant(images), size))
    indices = np.arange(len(labels))
    split = Split(stored, indices, labels.astype(np.int32))
    return split, tuple("0123456789")
