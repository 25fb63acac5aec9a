"""Random numbers of data: pure functions of (seed, epoch, position).

They come from Philox in counter mode with the position as the counter: the image at a position
draws the same numbers whatever the batch size, the number of replicas or the step at which a run
was resumed. The stream is the counter's upper half, so that uses do not share numbers: 0 is crop
and mirroring, 1 to 9 are the other changes of single images, 10 is mixing, 11 are
RandAugment's operations.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

_PHILOX = 1
_A_COUNT = 4  # numbers that one count of the counter gives
_BEFORE_EPOCHS = -1  # the key of what is decided once, for all epochs


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What the images at consecutive positions of an epoch draw.

    Args:
        seed: of the run.
        epoch: int64 scalar.
        first, end: the first position and the one behind the last, int64 scalars.
        images: number of each image in its store, int64 `[n]`.
        copies: which copy of its image each is, int64 `[n]`; 0 is the image itself.
    """

    seed: int
    epoch: tf.Tensor
    first: tf.Tensor
    end: tf.Tensor
    images: tf.Tensor
    copies: tf.Tensor

    @property
    def count(self) -> tf.Tensor:
        """The number of images n, int32."""
        return tf.cast(self.end - self.first, tf.int32)

    def words(self, stream: int) -> tf.Tensor:
        """Return four random numbers an image, uint32 `[n, 4]`."""
        return draws(self.seed, self.epoch, (self.first, self.end), stream=stream)

    def uniform(self, stream: int, count: int = _A_COUNT) -> tf.Tensor:
        """Return numbers from 0 to below 1, float32 `[n, count]`; a count of pixels is welcome."""
        return self._floats(tf.raw_ops.StatelessRandomUniformV2, stream, count)

    def normal(self, stream: int, count: int = _A_COUNT) -> tf.Tensor:
        """Return normal numbers of deviation 1, float32 `[n, count]`."""
        return self._floats(tf.raw_ops.StatelessRandomNormalV2, stream, count)

    def mirrored_at_first(self) -> tf.Tensor:
        """Return a coin for each image, whatever its position: bool `[n]`."""
        places = shuffled(self.seed, _BEFORE_EPOCHS, self.images, 2**31)
        return places % 2 == 1

    def _floats(self, operation: Any, stream: int, count: int) -> tf.Tensor:
        # Each position owns as many counts as its numbers take.
        counts = -(-count // _A_COUNT)
        first = tf.cast(self.first, tf.uint64) * counts
        numbers = operation(
            shape=tf.stack([self.count, counts * _A_COUNT]),
            key=_key(self.seed, self.epoch),
            counter=tf.stack([first, tf.constant(stream, tf.uint64)]),
            alg=_PHILOX,
            dtype=tf.float32,
        )
        return numbers[:, :count]


def draws(
    seed: int | tf.Tensor,
    epoch: tf.Tensor,
    positions: tuple[tf.Tensor, tf.Tensor],
    *,
    stream: int = 0,
) -> tf.Tensor:
    """Return random numbers, uint32 `[n, 4]`, for positions from the first to before the second."""
    first, end = positions
    upper = tf.constant(stream, tf.uint64)
    count = tf.cast(end - first, tf.int32)
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([count, _A_COUNT]),
        key=_key(seed, epoch),
        counter=tf.stack([tf.cast(first, tf.uint64), upper]),
        alg=_PHILOX,
        dtype=tf.uint32,
    )


def _key(seed: int | tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    upper_half = tf.cast(seed, tf.int64) * 2**32
    lower_half = tf.cast(epoch, tf.int64)
    key = tf.cast(upper_half + lower_half, tf.uint64)
    return key[None]


def shuffled(seed: int, epoch: int | tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
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
