"""Warps: turned, moved, sheared, scaled and bent images, all by one map and one interpolation."""

import math
from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.elastic import Elastic
from epochal.app.data.augment.told import Told, worded

_AFFINE = 1  # streams of random numbers
_SHEAR = 2
_RESIZED_CROP = 3
_ATTEMPTS = 10
_FILL_MODES = {"reflect": "REFLECT", "black": "CONSTANT"}


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

    def windows(self, side: int, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Return top and left, and height and width, of each window in pixels: `[n, 2]` each."""
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
        return corners, size


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
        border: what lies outside: "reflect", the image mirrored at its edge, or "black".
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
        matrices, offsets = self._map(side, window, draws)
        size = self.image_size
        if self.elastic is None:
            return warp(images, matrices, offsets, size=size, border=self.border)
        down, right = self.elastic.field(size, draws)
        rows, columns = places(matrices, offsets, size)
        return sample(images, rows + down, columns + right, border=self.border)

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images of `side` pixels draw, in words."""
        told = []
        if self.resized_crop is not None:
            corners, sizes = self.resized_crop.windows(side, draws)
            top, left = tf.transpose(corners)
            height, width = tf.transpose(sizes)
            template = f"{{:.0f}} x {{:.0f}} of {side} x {side}, from ({{:.0f}}, {{:.0f}})"
            told.append(worded(template, width, height, left, top))
        angle, shear, scale, shift = self._affine(side, draws)
        told.append(worded("turned {:+.1f}°", angle * 180 / math.pi))
        told.append(worded("moved {:+.1f} down, {:+.1f} right", shift[:, 0], shift[:, 1]))
        told.append(worded("leaning {:+.1f}°", shear * 180 / math.pi))
        told.append(worded("size x {:.2f}", scale, still=1.0))
        if self.elastic is not None:
            down, right = self.elastic.field(self.image_size, draws)
            furthest = tf.reduce_max(tf.sqrt(down**2 + right**2), axis=[1, 2])
            told.append(worded("bent by up to {:.1f} pixels", furthest))
        return told

    def _map(self, side: int, window: Window, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Return matrices and offsets from output pixels to those of the image: see `warp`."""
        starts, steps = self._crop(side, window, draws)
        angle, shear, scale, shifts = self._affine(side, draws)
        inverse = inverse_affine(angle=angle, shear=shear, scale=scale)
        centre = (side - 1) / 2
        offsets = tf.linalg.matvec(inverse, starts - shifts - centre) + centre
        return inverse * steps[:, None, :], offsets

    def _affine(self, side: int, draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return angle and shear in radians, scale `[n]` and shift in pixels `[n, 2]`."""
        random = 2 * draws.uniform(_AFFINE) - 1
        leaning = 2 * draws.uniform(_SHEAR)[:, 0] - 1
        angle = math.radians(self.rotate) * random[:, 0]
        shear = math.radians(self.shear) * leaning
        scale = tf.exp(math.log1p(self.zoom) * random[:, 3])
        return angle, shear, scale, self.translate * side * random[:, 1:3]

    def _crop(self, side: int, window: Window, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Return where the window's first row and column lie, and from each to the next.

        In pixels of the image, float32 `[n, 2]` each.
        """
        if self.resized_crop is None:
            starts = tf.cast(window.corners, tf.float32)
            steps = tf.ones_like(starts)
        else:
            corners, sizes = self.resized_crop.windows(side, draws)
            steps = sizes / self.image_size
            # Pixels are squares: the middle of the first is half a pixel from the edge.
            starts = corners + 0.5 * steps - 0.5
        upended = window.upended
        if upended is None:
            upended = tf.zeros_like(window.mirrored)
        is_backward = tf.stack([upended, window.mirrored], axis=1)
        ends = starts + steps * (self.image_size - 1)
        return tf.where(is_backward, ends, starts), tf.where(is_backward, -steps, steps)


def inverse_affine(*, angle: tf.Tensor, shear: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Return matrices, float32 `[n, 2, 2]`, from (row, column) of the output to that of the image.

    The image is scaled, then sheared by `column += tan(shear) * row`, then turned anticlockwise,
    each about the origin; angles in radians.
    """
    cosine = tf.cos(angle)
    sine = tf.sin(angle)
    lean = tf.tan(shear)
    rows = tf.stack([cosine, sine], axis=1)
    columns = tf.stack([-sine - lean * cosine, cosine - lean * sine], axis=1)
    return tf.stack([rows, columns], axis=1) / scale[:, None, None]


def warp(
    images: tf.Tensor, matrices: tf.Tensor, offsets: tf.Tensor, *, size: int, border: str
) -> tf.Tensor:
    """Warp images by affine maps, interpolating linearly between pixels.

    Args:
        images: `[n, H, W, C]` of any type.
        matrices: from (row, column) of the output to that of the image, float32 `[n, 2, 2]`.
        offsets: what is added, `[n, 2]`.
        size: side of the output.
        border: as of `sample`.

    Returns:
        float32 `[n, size, size, C]`; what is whole to the bit where places are.
    """
    of_rows = matrices[:, 0]
    of_columns = matrices[:, 1]
    # TensorFlow has x, the column, first.
    coefficients = tf.concat(
        [
            of_columns[:, ::-1],
            offsets[:, 1:],
            of_rows[:, ::-1],
            offsets[:, :1],
            tf.zeros_like(offsets),
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=coefficients,
        output_shape=[size, size],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=_FILL_MODES[border],
    )


def places(matrices: tf.Tensor, offsets: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the rows and columns, `[n, size, size]` each, that `warp` looks at."""
    steps = tf.range(size, dtype=tf.float32)
    found = []
    for axis in (0, 1):
        of_rows = matrices[:, axis, :1] * steps + offsets[:, axis, None]
        of_columns = matrices[:, axis, 1:] * steps
        found.append(of_rows[:, :, None] + of_columns[:, None, :])
    return found[0], found[1]


def sample(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, *, border: str) -> tf.Tensor:
    """Interpolate images linearly between pixels, at any places.

    Args:
        images: `[n, H, W, C]` of any type, H and W at least 2.
        rows, columns: float32 `[n, h, w]`; a whole number is the middle of a pixel.
        border: "reflect" (the image mirrored at its edge, so that the outermost pixels come twice)
            or "black" (which fades in over the pixel next to the edge).

    Returns:
        float32 `[n, h, w, C]`; at whole numbers, what is there to the bit.
    """
    if border == "black":
        images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
        rows = rows + 1
        columns = columns + 1
    height, width, channels = images.shape[1:]
    if border == "reflect":
        rows = _reflect(rows, height)
        columns = _reflect(columns, width)
    rows = tf.clip_by_value(rows, 0.0, height - 1.0)
    columns = tf.clip_by_value(columns, 0.0, width - 1.0)
    top = tf.minimum(tf.floor(rows), height - 2.0)
    left = tf.minimum(tf.floor(columns), width - 2.0)
    # The four pixels around each place lie side by side: one gather instead of four.
    above = [images[:, :-1, :-1], images[:, :-1, 1:]]
    below = [images[:, 1:, :-1], images[:, 1:, 1:]]
    fours = tf.concat([*above, *below], axis=-1)
    images_before = tf.range(tf.shape(images)[0])[:, None, None]
    rows_before = images_before * (height - 1) + tf.cast(top, tf.int32)
    flat = rows_before * (width - 1) + tf.cast(left, tf.int32)
    around = tf.gather(tf.reshape(fours, [-1, 4 * channels]), tf.reshape(flat, [-1]))
    # A plane for each channel: shares of a place are then multiplied without being repeated.
    planes = tf.cast(tf.transpose(around), tf.float32)
    # Shares, not differences: both ends come out to the bit.
    lower = tf.reshape(rows - top, [-1])
    sides = planes[: 2 * channels] * (1 - lower) + planes[2 * channels :] * lower
    righter = tf.reshape(columns - left, [-1])
    mixed = sides[:channels] * (1 - righter) + sides[channels:] * righter
    shape = tf.concat([tf.shape(rows), [channels]], axis=0)
    found = tf.reshape(tf.transpose(mixed), shape)
    return tf.ensure_shape(found, [*rows.shape, channels])


def _reflect(places: tf.Tensor, size: int) -> tf.Tensor:
    """Mirror places at the edges, half a pixel outside of 0 and `size` - 1, as often as needed."""
    distance = tf.math.floormod(tf.abs(places + 0.5), 2.0 * size)
    return size - tf.abs(size - distance) - 0.5
