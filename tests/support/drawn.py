"""What the images at some positions of an epoch draw, for tests of augmentation."""

import tensorflow as tf

from epochal.app.data.augment.draws import Draws

SEED = 5


def drawn(first: int, end: int, *, epoch: int = 3, images: int = 1000, copies: int = 0) -> Draws:
    """Return the draws from a position to before another, where image i comes at position i."""
    positions = tf.range(first, end, dtype=tf.int64)
    return Draws(
        seed=SEED,
        epoch=tf.constant(epoch, tf.int64),
        first=tf.constant(first, tf.int64),
        end=tf.constant(end, tf.int64),
        images=positions % images,
        copies=tf.fill([end - first], tf.constant(copies, tf.int64)),
    )
