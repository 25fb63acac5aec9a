"""Noise and blur of images."""

from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.smoothing import neighbours, reach_of
from epochal.app.data.augment.told import Told, worded

_BLUR = 6  # streams of random numbers; of this one the second word
_NOISE = 8
_LEAST_SIGMA = 1e-3  # pixels; nothing is left of a neighbour


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Gaussian noise, independent in every pixel and channel.

    Attributes:
        deviations: of each channel's noise, in levels.
        copies_only: whether images themselves stay, and their noisy copies alone are changed.
    """

    deviations: tuple[float, ...]
    copies_only: bool = False

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Add noise to images in levels, float32 `[n, h, w, C]`."""
        height, width, channels = levels.shape[1:]
        numbers = draws.normal(_NOISE, height * width * channels)
        noise = tf.reshape(numbers, [-1, height, width, channels])
        noise *= tf.constant(self.deviations, tf.float32)
        if self.copies_only:
            is_copy = draws.copies > 0
            noise *= tf.cast(is_copy, tf.float32)[:, None, None, None]
        return levels + noise

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images draw, in words."""
        deviation = sum(self.deviations) / len(self.deviations)
        deviations = tf.fill([draws.count], deviation)
        if self.copies_only:
            deviations *= tf.cast(draws.copies > 0, tf.float32)
        return [worded("noise of {:.1f} levels", deviations)]


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Blur by a Gaussian, the border mirrored, whose deviation is from 0 to `sigma` pixels."""

    sigma: float

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Blur images, float32 `[n, h, w, C]`."""
        return blur(levels, self._sigmas(draws), reach_of(self.sigma))

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images draw, in words."""
        return [worded("blurred over {:.2f} pixels", self._sigmas(draws))]

    def _sigmas(self, draws: Draws) -> tf.Tensor:
        """Return the deviation of each Gaussian in pixels, float32 `[n]`."""
        return self.sigma * draws.uniform(_BLUR)[:, 1]


def blur(levels: tf.Tensor, sigmas: tf.Tensor, reach: int) -> tf.Tensor:
    """Smooth images `[n, h, w, C]` by Gaussians of deviations `[n]`, cut off at `reach` pixels."""
    height, width, channels = levels.shape[1:]
    distances = tf.range(-reach, reach + 1, dtype=tf.float32)
    widths = tf.maximum(sigmas, _LEAST_SIGMA)[:, None]
    shares = tf.exp(-0.5 * (distances / widths) ** 2)
    shares /= tf.reduce_sum(shares, axis=1, keepdims=True)
    down = tf.tensordot(shares, tf.constant(neighbours(height, reach)), axes=1)
    across = tf.tensordot(shares, tf.constant(neighbours(width, reach)), axes=1)
    rows = tf.reshape(levels, [-1, height, width * channels])
    smooth = tf.reshape(tf.matmul(down, rows), [-1, height, width, channels])
    return tf.matmul(across[:, None], smooth)
