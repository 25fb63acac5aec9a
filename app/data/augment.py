"""Augmentation of training images in batches: pure functions of (seed, epoch, position).

Random numbers come from Philox in counter mode with the position as the counter: the image at a
position draws the same numbers whatever the batch size, the number of replicas or the step at which
a run was resumed.
"""

from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.preprocessing import crop_centre

_PHILOX = 1


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crop and mirroring of training images.

    Attributes:
        stored_size: side of the images.
        image_size: side after the crop; if smaller, the crop lies anywhere inside the image (256 to
            224 style).
        pad: pixels that are added on each side first (CIFAR style).
        border: which pixels: those of the image mirrored at its edge ("reflect"), or "black" ones.
        flip: whether half of the images are mirrored left to right.
    """

    stored_size: int
    image_size: int
    pad: int = 0
    border: str = "reflect"
    flip: bool = False

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """Crop and mirror images `[n, S, S, C]` by draws, uint32 `[n, 4]`, to `[n, s, s, C]`."""
        padded_size = self.stored_size + 2 * self.pad
        num_places = padded_size - self.image_size + 1
        divisor = tf.constant(num_places, tf.uint32)
        offsets = random[:, :2] % divisor
        corners = tf.cast(offsets, tf.int32) - self.pad
        coin = random[:, 2]
        mirrored = (coin >= 2**31) & self.flip
        return cut_windows(
            images,
            corners,
            mirrored,
            size=self.image_size,
            border=self.border,
        )

    def centre(self, images: tf.Tensor) -> tf.Tensor:
        """Cut the centre, as evaluation does: uint8 `[n, s, s, C]` of `[n, S, S, C]`."""
        return crop_centre(images, self.image_size)


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


def cut_windows(
    images: tf.Tensor, corners: tf.Tensor, mirrored: tf.Tensor, *, size: int, border: str
) -> tf.Tensor:
    """Cut a window out of each image of a batch and mirror some, in one gather.

    Args:
        images: uint8 `[n, S, S, C]`.
        corners: int32 `[n, 2]`, top and left of each window; it may stick out by up to S - 1
            pixels.
        mirrored: bool `[n]`.
        size: side of the window.
        border: what lies outside: "reflect", the image mirrored at its outermost pixels, or
            "black".
    """
    count = tf.shape(images)[0]
    side = images.shape[2]
    channels = images.shape[3]
    last = side - 1
    steps = tf.range(size)
    rows = corners[:, :1] + steps
    backward = steps[::-1]
    column_steps = tf.where(mirrored[:, None], backward, steps)
    columns = corners[:, 1:] + column_steps
    inner_rows = _reflect(rows, last)
    inner_columns = _reflect(columns, last)
    # One flat index per pixel: twice as fast as a gather with batch dimensions.
    images_before = tf.range(count)[:, None]
    flat_rows = images_before * side + inner_rows
    row_starts = flat_rows[:, :, None] * side
    pixels = row_starts + inner_columns[:, None, :]
    flat_images = tf.reshape(images, [-1, channels])
    windows = tf.gather(flat_images, pixels)
    if border == "reflect":
        return windows
    inside_rows = inner_rows == rows
    inside_columns = inner_columns == columns
    inside = tf.logical_and(inside_rows[:, :, None], inside_columns[:, None, :])
    black = tf.zeros([], images.dtype)
    return tf.where(inside[..., None], windows, black)


def _reflect(places: tf.Tensor, last: int) -> tf.Tensor:
    """Mirror places below 0 or above `last` into 0 to `last`; those at the edge come once."""
    return last - tf.abs(last - tf.abs(places))


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
