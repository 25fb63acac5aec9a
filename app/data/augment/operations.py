"""Pillow's operations on batches of images, each image with an operation and a strength of its own.

Strengths are those of Pillow's ImageOps and ImageEnhance. Levels are whole numbers, and so are sums
over an image, so that it comes out the same in any batch.
"""

import numpy as np
import tensorflow as tf

from epochal.app.data.augment.warp import warp

# Red, green and blue in 65,536ths, as Pillow makes grey.
_LUMA = (19_595, 38_470, 7_471)
_LEVELS = np.arange(256, dtype=np.float32)


def affine(images: tf.Tensor, maps: tf.Tensor, *, border: str) -> tf.Tensor:
    """Move pixels, interpolated linearly.

    Args:
        images: uint8 `[n, S, S, C]`.
        maps: from an output's row and column to the image's, float32 `[n, 2, 3]`: of each a factor
            of the row, one of the column, and a sum; the corner of the image is at 0.
        border: as for `warp`.

    Returns:
        uint8 `[n, S, S, C]`.
    """
    matrices = maps[:, :, :2]
    # `warp` counts from the middle of the first pixel.
    offsets = maps[:, :, 2] + 0.5 * tf.reduce_sum(matrices, axis=2) - 0.5
    moved = warp(
        images,
        matrices,
        offsets,
        size=images.shape[1],
        border=border,
    )
    return tf.cast(tf.round(moved), tf.uint8)


def look_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Return what tables `[n, C, 256]` say for each level of images, uint8 `[n, S, S, C]`."""
    return tf.gather(tf.reshape(tables, [-1]), _entries(images))


def histograms(images: tf.Tensor) -> tf.Tensor:
    """Count the pixels of each level in each channel of images, int32 `[n, C, 256]`."""
    count = tf.shape(images)[0]
    channels = images.shape[-1]
    counts = tf.math.bincount(
        tf.reshape(_entries(images), [-1]),
        minlength=count * channels * 256,
    )
    return tf.reshape(counts, [count, channels, 256])


def _entries(images: tf.Tensor) -> tf.Tensor:
    """Return the place of each level in the tables of all images and channels laid in a row."""
    channels = images.shape[-1]
    tables_before = tf.range(tf.shape(images)[0] * channels)
    firsts = tf.reshape(tables_before * 256, [-1, 1, 1, channels])
    return firsts + tf.cast(images, tf.int32)


def grey(images: tf.Tensor) -> tf.Tensor:
    """Return the grey of each pixel, int32 `[n, S, S, 1]`, of images, uint8 `[n, S, S, C]`."""
    levels = tf.cast(images, tf.int32)
    if images.shape[-1] != len(_LUMA):
        return tf.reduce_sum(levels, axis=-1, keepdims=True) // images.shape[-1]
    weighed = tf.reduce_sum(levels * tf.constant(_LUMA), axis=-1, keepdims=True)
    return (weighed + 2**15) // 2**16


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Return means over 3 x 3 pixels, the middle one counted five times; those at edges stay."""
    levels = tf.cast(images, tf.int32)
    side = images.shape[1]
    last = side - 2
    total = 4 * levels[:, 1:-1, 1:-1]
    for down in range(3):
        for right in range(3):
            total += levels[:, down : down + last, right : right + last]
    inside = (total + 6) // 13
    rows = tf.concat([levels[:, 1:-1, :1], inside, levels[:, 1:-1, -1:]], axis=2)
    return tf.concat([levels[:, :1], rows, levels[:, -1:]], axis=1)


def blend_with(degenerate: tf.Tensor, images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Return the images' difference from what they degenerate to times factors `[n]`, uint8."""
    start = tf.cast(degenerate, tf.float32)
    difference = tf.cast(images, tf.float32) - start
    blended = start + factors[:, None, None, None] * difference
    return to_levels(blended)


def to_levels(values: tf.Tensor) -> tf.Tensor:
    """Return the nearest of 0 to 255, uint8."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def brightness_tables(factors: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, 1, 256]`, that multiply levels by factors `[n]`."""
    return to_levels(factors[:, None, None] * _LEVELS)


def contrast_tables(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, 1, 256]`, for differences from the image's mean grey."""
    pixels = images.shape[1] * images.shape[2]
    total = tf.reduce_sum(grey(images), axis=[1, 2, 3])
    mean = tf.cast((total + pixels // 2) // pixels, tf.float32)[:, None, None]
    return to_levels(mean + factors[:, None, None] * (_LEVELS - mean))


def posterize_tables(bits: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, 1, 256]`, that keep the highest bits of a level, int32 `[n]`."""
    step = tf.cast(tf.bitwise.left_shift(1, 8 - bits), tf.float32)[:, None, None]
    return to_levels(step * tf.floor(_LEVELS / step))


def solarize_tables(thresholds: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, 1, 256]`, that invert levels from thresholds `[n]` on."""
    stays = thresholds[:, None, None] > _LEVELS
    return to_levels(tf.where(stays, _LEVELS, 255 - _LEVELS))


def autocontrast_tables(counts: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, C, 256]`, that spread the levels of `histograms` from 0 to 255."""
    occurs = tf.cast(counts > 0, tf.int32)
    low = tf.argmax(occurs, axis=-1, output_type=tf.int32)[..., None]
    high = 255 - tf.argmax(occurs[..., ::-1], axis=-1, output_type=tf.int32)[..., None]
    levels = tf.range(256)
    spread = (levels - low) * 255 // tf.maximum(high - low, 1)
    spread = tf.where(high > low, spread, levels)
    return tf.cast(tf.clip_by_value(spread, 0, 255), tf.uint8)


def equalize_tables(counts: tf.Tensor) -> tf.Tensor:
    """Return tables, uint8 `[n, C, 256]`, that make the levels of `histograms` equally frequent."""
    below = tf.cumsum(counts, axis=-1, exclusive=True)
    # Of the highest level that occurs: all but its own pixels lie below it.
    step = tf.reduce_max(tf.where(counts > 0, below, 0), axis=-1, keepdims=True) // 255
    equal = (step // 2 + below) // tf.maximum(step, 1)
    equal = tf.where(step > 0, equal, tf.range(256))
    return tf.cast(tf.clip_by_value(equal, 0, 255), tf.uint8)
