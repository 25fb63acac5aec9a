"""Random numbers of data: pure functions of (seed, epoch, position).

They come from Philox in counter mode with the position as the counter: the image at a position
draws the same numbers whatever the batch size, the number of replicas or the step at which a run
was resumed.
"""

import tensorflow as tf

_PHILOX = 1


def draws(
    seed: int | tf.Tensor, epoch: tf.Tensor, positions: tuple[tf.Tensor, tf.Tensor]
) -> tf.Tensor:
    """Return random numbers, uint32 `[n, 4]`, for positions from the first to before the second."""
    first, end = positions
    upper_half = tf.cast(seed, tf.int64) * 2**32
    lower_half = tf.cast(epoch, tf.int64)
    key = tf.cast(upper_half + lower_half, tf.uint64)
    zero = tf.constant(0, tf.uint64)
    counter = tf.stack([tf.cast(first, tf.uint64), zero])
    count = tf.cast(end - first, tf.int32)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([count, 4]),
        key=key[None],
        counter=counter,
        alg=_PHILOX,
        dtype=tf.uint32,
    )


def shuffled(seed: int, epoch: tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
    """Return the index at each position (int64) of the epoch's permutation of `count` items."""
    run_key = tf.constant(seed, tf.int64)
    epoch_key = tf.cast(epoch, tf.int64)
    key = tf.stack([run_key, epoch_key])
    # One position more than needed: TensorFlow refuses to shuffle none, which is what an idle
    # replica gets.
    padded = tf.concat([positions, [0]], axis=0)
    images = tf.random.experimental.index_shuffle(
        padded,
        seed=key,
        max_index=count - 1,
    )
    return images[:-1]
