"""Colours: hue, brightness, contrast, saturation, grey and shifts along principal components."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.told import Told, worded

_FACTORS = 5  # streams of random numbers
_GREY = 6
_PCA = 7
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True, kw_only=True)
class Colour:
    """Changes of colours; all but the hue are one affine map of each pixel's channels.

    In this order: hue, brightness, contrast, saturation, grey, principal components. Levels are not
    clipped between them. Of grey images (one channel), brightness and contrast change.

    Attributes:
        brightness: levels are multiplied by 1 - brightness to 1 + brightness.
        contrast: so are differences from the image's mean grey.
        saturation: so are differences from each pixel's grey.
        hue: largest turn as a share of the circle.
        grey: share of the images that lose their colours.
        pca: deviation of the factors of `axes` (Krizhevsky et al. 2012, section 4.1: 0.1).
        axes: principal components of the training images' colours, rows `[C, C]`, each as long as
            its eigenvalue, for levels from 0 to 1.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    pca: float = 0.0
    axes: tuple[tuple[float, ...], ...] = ()

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Change the colours of images in levels, float32 `[n, h, w, C]`."""
        brightness, contrast, saturation, turn = self._factors(draws)
        if self.hue:
            levels = turn_hues(levels, turn)
        if not any((self.brightness, self.contrast, self.saturation, self.grey, self.pca)):
            return levels
        matrices, offsets = colour_map(levels, brightness, contrast, saturation)
        if self.pca:
            offsets += self._shifts(draws)
        return map_channels(levels, matrices, offsets)

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images draw, in words."""
        brightness, contrast, saturation, turn = self._factors(draws)
        told = [
            worded("hue {:+.0f}°", turn * 360),
            worded("brightness x {:.2f}", brightness, still=1.0),
            worded("contrast x {:.2f}", contrast, still=1.0),
            worded("saturation x {:.2f}", saturation, still=1.0),
        ]
        if self.pca:
            shifts = tf.unstack(self._shifts(draws), axis=1)
            told.append(worded("colour " + ", ".join(["{:+.0f}"] * len(shifts)), *shifts))
        return told

    def _factors(self, draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return factors of brightness, contrast and saturation, and the turn of hues, `[n]` each.

        The turn is a share of the circle.
        """
        around_one = 2 * draws.uniform(_FACTORS) - 1
        brightness = 1 + self.brightness * around_one[:, 0]
        contrast = 1 + self.contrast * around_one[:, 1]
        saturation = 1 + self.saturation * around_one[:, 2]
        if self.grey:
            is_grey = draws.uniform(_GREY)[:, 0] < self.grey
            saturation = tf.where(is_grey, 0.0, saturation)
        return brightness, contrast, saturation, self.hue * around_one[:, 3]

    def _shifts(self, draws: Draws) -> tf.Tensor:
        """Return what is added to each channel along the principal components, `[n, C]`."""
        factors = self.pca * draws.normal(_PCA)[:, : len(self.axes)]
        return 255 * tf.matmul(factors, tf.constant(self.axes, tf.float32))


def colour_map(
    levels: tf.Tensor, brightness: tf.Tensor, contrast: tf.Tensor, saturation: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the map of each image's channels that factors `[n]` of an image amount to.

    Args:
        levels: float32 `[n, h, w, C]`, whose mean grey the contrast leaves as it is.
        brightness: multiplies levels.
        contrast: then multiplies differences from the image's mean grey.
        saturation: then multiplies differences from each pixel's grey.

    Returns:
        Matrices `[n, C, C]`, to be multiplied from the right, and offsets `[n, C]`.
    """
    channels = levels.shape[-1]
    luma = tf.ones([1])
    if channels == len(_LUMA):
        luma = tf.constant(_LUMA)
    mean = tf.reduce_mean(levels, axis=[1, 2])
    mean_grey = brightness * tf.linalg.matvec(mean, luma)
    offset = (1 - contrast) * mean_grey
    kept = saturation[:, None, None] * tf.eye(channels)
    # Every channel gets the same share of each pixel's grey.
    greyed = (1 - saturation)[:, None, None] * luma[:, None]
    factor = contrast * brightness
    matrices = factor[:, None, None] * (kept + greyed)
    return matrices, tf.repeat(offset[:, None], channels, axis=1)


def map_channels(levels: tf.Tensor, matrices: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """Multiply each image's pixels, rows `[n, h, w, C]`, by its matrix, and add its offsets."""
    shape = tf.shape(levels)
    channels = levels.shape[-1]
    rows = tf.reshape(levels, tf.stack([shape[0], -1, channels]))
    mapped = tf.matmul(rows, matrices) + offsets[:, None, :]
    return tf.reshape(mapped, shape)


def turn_hues(levels: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Turn the hues of images `[n, h, w, 3]` by shares of the circle `[n]`.

    Value and saturation (of HSV) stay.
    """
    hsv = tf.image.rgb_to_hsv(levels)
    hue = tf.math.floormod(hsv[..., :1] + turns[:, None, None, None], 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue, hsv[..., 1:]], axis=-1))


def colour_axes(covariance: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Return a covariance's eigenvectors as rows, each multiplied by its eigenvalue."""
    values, vectors = np.linalg.eigh(covariance)
    axes = (vectors * values).T
    return tuple(tuple(axis) for axis in axes.tolist())
