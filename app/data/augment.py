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
    pixels on each side first (CIFAR style), black ones or those of the image mirrored at its `border`; `flip` mirrors
    half of the images left to right.
    """

    stored_size: int
    image_size: int
    pad: int = 0
    border: str = "reflect"
    flip: bool = False

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """uint8 `[n, S, S, C]` and uint32 draws `[n, 4]` -> uint8 `[n, s, s, C]`."""
        places = self.stored_size - self.image_size + 2 * self.pad + 1
        offsets = tf.cast(random[:, :2] % tf.constant(places, tf.uint32), tf.int32)
        mirrored = (random[:, 2] >= 2**31) & self.flip
        return window(
            images, offsets - self.pad, mirrored, size=self.image_size, border=self.border
        )

    def centre(self, images: tf.Tensor) -> tf.Tensor:
        """The central crop that evaluation and export take: uint8 `[n, S, S, C]` -> `[n, s, s, C]`."""
        return centre_crop(images, self.image_size)


def centre_crop(images: tf.Tensor, size: int) -> tf.Tensor:
    """The central `size` x `size` pixels of `[..., S, S, C]`."""
    start = (images.shape[-3] - size) // 2
    return images[..., start : start + size, start : start + size, :]


def draws(
    seed: int | tf.Tensor, epoch: tf.Tensor, positions: tuple[tf.Tensor, tf.Tensor]
) -> tf.Tensor:
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


def window(
    images: tf.Tensor, corners: tf.Tensor, mirrored: tf.Tensor, *, size: int, border: str
) -> tf.Tensor:
    """Cuts a window out of each image of a batch and mirrors some, in one gather.

    Args:
        images: uint8 `[n, S, S, C]`.
        corners: int32 `[n, 2]`, top and left of each window; it may stick out by up to S - 1 pixels.
        mirrored: bool `[n]`.
        size: side of the window.
        border: what lies outside: "reflect", the image mirrored at its outermost pixels, or "black".
    """
    count = tf.shape(images)[0]
    width = images.shape[2]
    channels = images.shape[3]
    steps = tf.range(size)
    last = images.shape[2] - 1
    rows = steps + corners[:, :1]
    columns = tf.where(mirrored[:, None], steps[::-1], steps) + corners[:, 1:]
    places = [last - tf.abs(last - tf.abs(place)) for place in (rows, columns)]
    # One flat index per pixel: twice as fast as a gather with batch dimensions.
    pixels = (tf.range(count)[:, None] * width + places[0])[:, :, None] * width + places[1][
        :, None, :
    ]
    cut = tf.gather(tf.reshape(images, [-1, channels]), pixels)
    if border == "reflect":
        return cut
    inside = tf.logical_and((places[0] == rows)[:, :, None], (places[1] == columns)[:, None, :])
    return tf.where(inside[..., None], cut, tf.zeros([], images.dtype))


def shuffled(seed: int, epoch: tf.Tensor, positions: tf.Tensor, count: int) -> tf.Tensor:
    """The index at each position (int64) of the epoch's permutation of `count` items."""
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    # One position more than asked for: TensorFlow refuses to shuffle none, which is what an idle replica gets.
    asked = tf.concat([positions, [0]], axis=0)
    return tf.random.experimental.index_shuffle(asked, seed=key, max_index=count - 1)[:-1]
