"""Erasing: rectangles of images that are replaced by the mean colour."""

import math
from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.told import Told, worded

_CUTOUT = 2  # streams of random numbers; of this one the second and third word
_ERASING = 9
_ATTEMPTS = 10
_LEAST_AREA = 0.02
_MOST_AREA = 0.4
_LEAST_RATIO = 0.3


@dataclass(frozen=True, kw_only=True)
class Erasing:
    """Random erasing: a rectangle inside of some images.

    Zhong et al. 2017, Random Erasing Data Augmentation, arXiv:1708.04896, section 4: area of 2 to
    40 %, height by width from 0.3 to 1 / 0.3. Of ten rectangles that are drawn the first that fits
    is erased; if none does, nothing is.

    Attributes:
        share: of the images.
        colour: that takes the place of what was there, in levels.
    """

    share: float
    colour: tuple[float, ...]

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Erase rectangles of images, float32 `[n, h, w, C]`."""
        height, width = levels.shape[1:3]
        return fill(levels, self._boxes(height, width, draws), self.colour)

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images of `side` pixels draw, in words."""
        return _told(self._boxes(side, side, draws))

    def _boxes(self, height: int, width: int, draws: Draws) -> tf.Tensor:
        """Return the rectangles of images, as `fill` takes them; an empty one has no height."""
        random = draws.uniform(_ERASING, 2 * _ATTEMPTS + 3)
        spread = _MOST_AREA - _LEAST_AREA
        areas = (_LEAST_AREA + spread * random[:, :_ATTEMPTS]) * height * width
        ratios = _LEAST_RATIO + (1 / _LEAST_RATIO - _LEAST_RATIO) * random[:, _ATTEMPTS:-3]
        heights = tf.round(tf.sqrt(areas * ratios))
        widths = tf.round(tf.sqrt(areas / ratios))
        fits = (heights < height) & (widths < width)
        chosen = tf.argmax(tf.cast(fits, tf.int32), axis=1)
        is_erased = tf.reduce_any(fits, axis=1) & (random[:, -1] < self.share)
        box_height = tf.gather(heights, chosen, batch_dims=1)
        box_width = tf.gather(widths, chosen, batch_dims=1)
        box_height = tf.where(is_erased, box_height, 0.0)
        top = tf.floor(random[:, -3] * (height - box_height + 1))
        left = tf.floor(random[:, -2] * (width - box_width + 1))
        return tf.stack([top, left, top + box_height, left + box_width], axis=1)


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Cutout: a square around a random pixel of each image, which may lie partly outside.

    DeVries and Taylor 2017, arXiv:1708.04552, section 3.2.

    Attributes:
        side: of the square, as a share of the image's.
        colour: that takes the place of what was there, in levels.
    """

    side: float
    colour: tuple[float, ...]

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Erase squares of images, float32 `[n, h, w, C]`."""
        height, width = levels.shape[1:3]
        return fill(levels, self._boxes(height, width, draws), self.colour)

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images of `side` pixels draw, in words."""
        return _told(self._boxes(side, side, draws))

    def _boxes(self, height: int, width: int, draws: Draws) -> tf.Tensor:
        """Return the squares of images, as `fill` takes them."""
        random = draws.uniform(_CUTOUT)
        side = math.floor(self.side * min(height, width) + 0.5)
        top = tf.floor(random[:, 1] * height) - side // 2
        left = tf.floor(random[:, 2] * width) - side // 2
        return tf.stack([top, left, top + side, left + side], axis=1)


def _told(boxes: tf.Tensor) -> Told:
    top, left, bottom, right = tf.transpose(boxes)
    height = bottom - top
    width = tf.where(height > 0, right - left, 0.0)
    words = worded("{:.0f} x {:.0f} pixels erased", width, height)
    return [words]


def fill(levels: tf.Tensor, boxes: tf.Tensor, colour: tuple[float, ...]) -> tf.Tensor:
    """Paint boxes of images `[n, h, w, C]` in a colour.

    Args:
        levels: float32.
        boxes: top, left, and the row and column behind them, float32 `[n, 4]`.
        colour: in levels, `[C]`.
    """
    height, width, channels = levels.shape[1:]
    rows = tf.range(height, dtype=tf.float32)
    # A row of an image is one row of numbers: nothing is repeated for its channels.
    columns = tf.repeat(tf.range(width, dtype=tf.float32), channels)
    in_rows = (rows >= boxes[:, :1]) & (rows < boxes[:, 2:3])
    in_columns = (columns >= boxes[:, 1:2]) & (columns < boxes[:, 3:])
    inside = tf.cast(in_rows, tf.float32)[:, :, None] * tf.cast(in_columns, tf.float32)[:, None]
    paint = tf.tile(tf.constant(colour, tf.float32), [width])
    flat = tf.reshape(levels, [-1, height, width * channels])
    painted = flat * (1 - inside) + paint * inside
    return tf.reshape(painted, [-1, height, width, channels])
