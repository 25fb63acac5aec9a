"""Warps: turned, moved, sheared, scaled and bent images, of one map and one gather."""

import math
from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.elastic import Elastic

_AFFINE = 1  # streams of random numbers
_SHEAR = 2
_RESIZED_CROP = 3
_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Window:
    """The part of each image that is seen.

    Attributes:
        corners: int32 `[n, 2]`, top and left; it may stick out.
        mirrored: left to right, bool `[n]`.
        upended: mirrored top to bottom, bool `[n]`; None for no image.
    """

    corners: tf.Tensor
    mirrored: tf.Tensor
    upended: tf.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class ResizedCrop:
    """A window of random area and ratio of sides, scaled to the size of the output.

    As Szegedy et al. 2015 (arXiv:1409.4842, section 6) and torchvision's RandomResizedCrop: of ten
    windows that are drawn the first that fits, else the largest in the centre.

    Attributes:
        least_area: share of the image that the smallest window has; the largest has all of it.
        ratio: of the longer to the shorter side, at most.
    """

    least_area: float
    ratio: float = 4 / 3

    def boxes(self, side: int, draws: Draws) -> tf.Tensor:
        """Return top, left, height and width of each window in pixels, float32 `[n, 4]`."""
        random = draws.uniform(_RESIZED_CROP, 2 * _ATTEMPTS + 2)
        share = self.least_area + (1 - self.least_area) * random[:, :_ATTEMPTS]
        areas = share * side**2
        spread = 2 * random[:, _ATTEMPTS : 2 * _ATTEMPTS] - 1
        ratios = tf.exp(math.log(self.ratio) * spread)
        widths = tf.round(tf.sqrt(areas * ratios))
        heights = tf.round(tf.sqrt(areas / ratios))
        fits = (widths <= side) & (heights <= side) & (widths > 0) & (heights > 0)
        # Behind the attempts stands the whole image, which always fits.
        fits = tf.pad(fits, [[0, 0], [0, 1]], constant_values=True)
        chosen = tf.argmax(tf.cast(fits, tf.int32), axis=1)
        sizes = []
        for sides in (heights, widths):
            sides = tf.pad(sides, [[0, 0], [0, 1]], constant_values=float(side))
            sizes.append(tf.gather(sides, chosen, batch_dims=1))
        size = tf.stack(sizes, axis=1)
        places = side - size + 1
        # A float below 1 times a whole number may be rounded up to it.
        corners = tf.minimum(tf.floor(random[:, -2:] * places), places - 1)
        return tf.concat([corners, size], axis=1)


@dataclass(frozen=True, kw_only=True)
class Warp:
    """A random affine map about the centre and an elastic deformation, taken before the crop.

    Angles, shares and logarithms of scales are uniform and as often negative as positive.

    Attributes:
        image_size: side of the output.
        rotate: largest angle in degrees.
        translate: largest shift along either axis, as a share of the side.
        shear: largest angle in degrees by which vertical lines lean.
        zoom: images become up to 1 + zoom times larger or smaller.
        resized_crop: takes the place of the crop; None crops.
        elastic: displacement of pixels; None is none.
        border: what lies outside: "reflect", the image mirrored at its outermost pixels, or
            "black".
    """

    image_size: int
    rotate: float = 0.0
    translate: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    resized_crop: ResizedCrop | None = None
    elastic: Elastic | None = None
    border: str = "reflect"

    def __call__(self, images: tf.Tensor, window: Window, draws: Draws) -> tf.Tensor:
        """Return warped windows of images `[n, S, S, C]` as float32 `[n, s, s, C]`."""
        side = images.shape[1]
        places = self._places(side, window, draws)
        angle, shear, scale, shift = self._affine(side, draws)
        rows, columns = map_back(
            places,
            inverse_affine(angle, shear, scale),
            shift=shift,
            centre=(side - 1) / 2,
        )
        if self.elastic is not None:
            down, right = self.elastic.field(self.image_size, draws)
            rows += down
            columns += right
        return sample(images, rows, columns, border=self.border)

    def _places(self, side: int, window: Window, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the rows and columns of the window's pixels, float32 `[n, s]` each."""
        steps = tf.range(self.image_size, dtype=tf.float32)
        row_steps = _mirrored(steps, window.upended)
        column_steps = _mirrored(steps, window.mirrored)
        if self.resized_crop is None:
            corners = tf.cast(window.corners, tf.float32)
            return corners[:, :1] + row_steps, corners[:, 1:] + column_steps
        boxes = self.resized_crop.boxes(side, draws)
        scales = boxes[:, 2:] / self.image_size
        # Pixels are squares: the middle of the first is half a pixel from the edge.
        rows = boxes[:, :1] + (row_steps + 0.5) * scales[:, :1] - 0.5
        columns = boxes[:, 1:2] + (column_steps + 0.5) * scales[:, 1:] - 0.5
        return rows, columns

    def _affine(self, side: int, draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return angle and shear in radians, scale `[n]` and shift in pixels `[n, 2]`."""
        random = 2 * draws.uniform(_AFFINE) - 1
        leaning = 2 * draws.uniform(_SHEAR)[:, 0] - 1
        angle = math.radians(self.rotate) * random[:, 0]
        shear = math.radians(self.shear) * leaning
        scale = tf.exp(math.log1p(self.zoom) * random[:, 3])
        shift = self.translate * side * random[:, 1:3]
        return angle, shear, scale, shift


def _mirrored(steps: tf.Tensor, mirrored: tf.Tensor | None) -> tf.Tensor:
    if mirrored is None:
        return steps
    return tf.where(mirrored[:, None], steps[::-1], steps)


def inverse_affine(angle: tf.Tensor, shear: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Return matrices, float32 `[n, 2, 2]`, from (row, column) of the output to that of the image.

    The image is scaled, then sheared by `column += tan(shear) * row`, then turned anticlockwise;
    angles in radians.
    """
    cosine = tf.cos(angle)
    sine = tf.sin(angle)
    lean = tf.tan(shear)
    # Turned back.
    row_of_row = cosine
    row_of_column = sine
    # Sheared back.
    column_of_row = -sine - lean * row_of_row
    column_of_column = cosine - lean * row_of_column
    rows = tf.stack([row_of_row, row_of_column], axis=1)
    columns = tf.stack([column_of_row, column_of_column], axis=1)
    return tf.stack([rows, columns], axis=1) / scale[:, None, None]


def map_back(
    places: tuple[tf.Tensor, tf.Tensor], matrices: tf.Tensor, *, shift: tf.Tensor, centre: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the pixels of an output lie in the image: rows and columns, each `[n, h, w]`.

    Args:
        places: rows `[n, h]` and columns `[n, w]` of the output in the moved image's pixels.
        matrices: `[n, 2, 2]`, as `inverse_affine` gives them.
        shift: by which the image was moved down and right, `[n, 2]`.
        centre: row and column that the matrices leave in place.
    """
    rows, columns = places
    down = rows - centre - shift[:, :1]
    right = columns - centre - shift[:, 1:]
    mapped = []
    for axis in (0, 1):
        of_rows = down * matrices[:, axis, :1] + centre
        of_columns = right * matrices[:, axis, 1:]
        mapped.append(of_rows[:, :, None] + of_columns[:, None, :])
    return mapped[0], mapped[1]


def sample(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, *, border: str) -> tf.Tensor:
    """Interpolate images linearly between pixels, at any places, in one gather.

    Args:
        images: `[n, H, W, C]` of any type, H and W at least 2.
        rows, columns: float32 `[n, h, w]`; a whole number is the middle of a pixel.
        border: "reflect" (the image mirrored at its outermost pixels) or "black" (which fades in
            over the pixel next to the edge).

    Returns:
        float32 `[n, h, w, C]`; at whole numbers, what is there to the bit.
    """
    if border == "black":
        images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
        height, width, channels = images.shape[1:]
        rows = tf.clip_by_value(rows + 1, 0.0, height - 1.0)
        columns = tf.clip_by_value(columns + 1, 0.0, width - 1.0)
    else:
        height, width, channels = images.shape[1:]
        rows = _reflect(rows, height - 1.0)
        columns = _reflect(columns, width - 1.0)
    top = tf.minimum(tf.floor(rows), height - 2.0)
    left = tf.minimum(tf.floor(columns), width - 2.0)
    # The four pixels around each place lie side by side: one gather instead of four.
    above = tf.concat([images[:, :-1, :-1], images[:, :-1, 1:]], axis=-1)
    below = tf.concat([images[:, 1:, :-1], images[:, 1:, 1:]], axis=-1)
    fours = tf.concat([above, below], axis=-1)
    images_before = tf.range(tf.shape(images)[0])[:, None, None]
    rows_before = images_before * (height - 1) + tf.cast(top, tf.int32)
    flat = rows_before * (width - 1) + tf.cast(left, tf.int32)
    around = tf.gather(tf.reshape(fours, [-1, 4 * channels]), flat)
    around = tf.cast(around, tf.float32)
    # Shares, not differences: both ends come out to the bit.
    lower = (rows - top)[..., None]
    upper = 1 - lower
    sides = around[..., : 2 * channels] * upper + around[..., 2 * channels :] * lower
    righter = (columns - left)[..., None]
    lefter = 1 - righter
    return sides[..., :channels] * lefter + sides[..., channels:] * righter


def _reflect(places: tf.Tensor, last: float) -> tf.Tensor:
    """Mirror places below 0 or above `last` into 0 to `last`, as often as it takes."""
    distance = tf.math.floormod(tf.abs(places), 2 * last)
    return last - tf.abs(last - distance)
