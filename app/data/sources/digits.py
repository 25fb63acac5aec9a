"""The 1,797 handwritten digits inside scikit-learn: 8 x 8 pixels, 16 grey levels, no download."""

import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import Cached, Split
from epochal.app.data.decoding import fit


def load(size: int) -> tuple[Split, tuple[str, ...]]:
    """All digits as one split, scaled to a side of `size` pixels, and the class names "0" to "9"."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    grey = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    with tf.device("CPU:0"):
        stored = Cached(fit(tf.constant(grey), size))
    return Split(stored, np.arange(len(labels)), labels.astype(np.int32)), tuple("0123456789")
