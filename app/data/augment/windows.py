"""Windows cut out of a batch of images, some of them mirrored."""

import tensorflow as tf


def cut_windows(
    images: tf.Tensor,
    corners: tf.Tensor,
    mirrored: tf.Tensor,
    *,
    size: int,
    border: str,
    upended: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cut a window out of each image of a batch and mirror some, in one gather.

    Args:
        images: uint8 `[n, S, S, C]`.
        corners: int32 `[n, 2]`, top and left of each window; it may stick out by up to S - 1
            pixels.
        mirrored: left to right, bool `[n]`.
        size: side of the window.
        border: what lies outside: "reflect", the image mirrored at its outermost pixels, or
            "black".
        upended: mirrored top to bottom, bool `[n]`; None for no image.
    """
    count = tf.shape(images)[0]
    side = images.shape[2]
    channels = images.shape[3]
    last = side - 1
    steps = tf.range(size)
    backward = steps[::-1]
    row_steps = steps
    if upended is not None:
        row_steps = tf.where(upended[:, None], backward, steps)
    rows = corners[:, :1] + row_steps
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
