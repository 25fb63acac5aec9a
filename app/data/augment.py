"""Random changes of whole batches of training images: pure functions of (seed, epoch, position in the epoch).

Random numbers come from Philox in counter mode with the position as the counter: the image at a position draws the
same numbers whatever the batch size, the number of replicas or the step at which a run was resumed.
"""

from dataclasses import dataclass

import tensorflow as tf

_PHILOX = 1


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to training images of side `stored_size` so that they leave with side `image_size`.

    With `stored_size > image_size` the crop lies anywhere inside the image (256 to 224 style); `pad` adds that many
    black pixels on each side first (CIFAR style); `flip` mirrors half of the images left to right.
    """

    stored_size: int
    image_size: int
    pad: int = 0
    flip: bool = False

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """uint8 `[n, S, S, C]` and uint32 draws `[n, 4]` -> uint8 `[n, s, s, C]`."""
        places = self.stored_size - self.image_size + 2 * self.pad + 1
        offsets = tf.cast(random[:, :2] % tf.constant(places, tf.uint32), tf.int32)
        mirrored = (random[:, 2] >= 2**31) & self.flip
        return window(images, offsets - self.pad, mirrored, size=self.image_size, pad=self.pad)

    def centre(self, images: tf.Tensor) -> tf.Tensor:
        """The central crop that evaluation and export take: uint8 `[n, S, S, C]` -> `[n, s, s, C]`."""
        return centre_crop(images, self.image_size)


def centre_crop(images: tf.Tensor, size: int) -> tf.Tensor:
    """The central `size` x `size` pixels of `[..., S, S, C]`."""
    start = (images.shape[-3] - size) // 2
    return images[..., start : start + size, start : start + size, :]


def draws(seed: int | tf.Tensor, epoch: tf.Tensor, positions: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """Four uint32 random numbers for each position of an epoch from `positions[0]` to before `positions[1]`."""
    first, end = positions
    key = tf.cast(tf.cast(seed, tf.int64) * 2**32 + tf.cast(epoch, tf.int64), tf.uint64)
    counter = tf.stack([tf.cast(first, tf.uint64), tf.constant(0, tf.uint64)])
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.stack([tf.cast(end - first, tf.int32), 4]),
        key=key[None],
        counter=counter,
        alg=_PHILOX,
        dtype=tf.uint32,
    )


def window(images: tf.Tensor, corners: tf.Tensor, mirrored: tf.Tensor, *, size: int, pad: int) -> tf.Tensor:
    """Cuts a window out of each image of a batch and mirrors some, in one gather.

    Args:
        images: uint8 `[n, S, S, C]`.
        corners: int32 `[n, 2]`, top and left of each window, from -pad to S + pad - size; outside lies black.
        mirrored: bool `[n]`.
    """
    padded = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]]) if pad else images
    count, width, channels = tf.shape(padded)[0], padded.shape[2], padded.shape[3]
    steps = tf.range(size)
    rows = steps + corners[:, :1] + pad
    columns = tf.where(mirrored[:, None], steps[::-1], steps) + corners[:, 1:] + pad
    # One flat index per pixel: twice as fast as a gather with batch dimensions.
    pixels = (tf.range(count)[:, None] * width + rows)[:, :, None] * width + columns[:, None, :]
    return tf.gather(tf.reshape(padded, [-1, channels]), pixels)


def shuffled(seed: int, epoch: tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
    """The index at each position (int64) of the epoch's permutation of `count` items."""
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    # One position more than asked for: TensorFlow refuses to shuffle none, which is what an idle replica gets.
    asked = tf.concat([positions, [0]], axis=0)
    return tf.random.experimental.index_shuffle(asked, seed=key, max_index=count - 1)[:-1]
