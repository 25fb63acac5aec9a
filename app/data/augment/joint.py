"""Joint transforms: an image together with its boxes, mask and keypoints.

Coordinates are pixels from the image's top left corner, x to the right and y down; the pixel in row
r and column c covers r to r + 1 and c to c + 1. Every function returns a new `AnnotatedImage` and
is given all its numbers, so that the caller decides how they are drawn.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import tensorflow as tf

from epochal.app.errors import UsageError

LEAST_VISIBLE = 0.1


def _none(columns: int) -> np.ndarray:
    return np.zeros((0, columns), np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedImage:
    """An image and what is known of places in it.

    Attributes:
        image: uint8 `[H, W, C]`.
        label: class of the whole image, which no transform changes.
        boxes: float32 `[N, 4]`: left, top, right and bottom edge.
        box_labels: int `[N]`, or None where boxes have no classes.
        mask: integers `[H, W]`, the class of each pixel, or None; 0 is what lies outside the image.
        keypoints: float32 `[K, 2]`: x and y.
        inside: bool `[K]`: False for a keypoint that left the image, in this transform or an
            earlier one; None means all.

    Raises:
        UsageError: shapes disagree, or a box is empty or not inside the image.
    """

    image: np.ndarray
    label: int | None = None
    boxes: np.ndarray = field(default_factory=lambda: _none(4))
    box_labels: np.ndarray | None = None
    mask: np.ndarray | None = None
    keypoints: np.ndarray = field(default_factory=lambda: _none(2))
    inside: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.dtype != np.uint8:
            raise UsageError(
                f"image: got {self.image.dtype} of shape {self.image.shape}; give uint8 [H, W, C]"
            )
        self._check_rows("boxes", self.boxes, 4)
        self._check_rows("keypoints", self.keypoints, 2)
        self._check_boxes()
        if self.mask is not None and self.mask.shape != self.image.shape[:2]:
            raise UsageError(
                f"mask: got shape {self.mask.shape} for an image of {self.image.shape[:2]}; "
                "give one integer a pixel"
            )
        if self.box_labels is not None and len(self.box_labels) != len(self.boxes):
            raise UsageError(
                f"box_labels: got {len(self.box_labels)} for {len(self.boxes)} boxes; "
                "give one a box"
            )
        if self.inside is None:
            object.__setattr__(self, "inside", self._places_inside())
        elif self.inside.shape != (len(self.keypoints),):
            raise UsageError(
                f"inside: got shape {self.inside.shape} for {len(self.keypoints)} keypoints; "
                "give one flag a keypoint"
            )

    @property
    def height(self) -> int:
        """Rows of the image."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Columns of the image."""
        return int(self.image.shape[1])

    def _check_rows(self, name: str, rows: np.ndarray, columns: int) -> None:
        if rows.ndim != 2 or rows.shape[1] != columns:
            raise UsageError(f"{name}: got shape {rows.shape}; give [N, {columns}]")

    def _check_boxes(self) -> None:
        left, top, right, bottom = self.boxes.T
        is_filled = (left < right) & (top < bottom)
        is_inside = (left >= 0) & (top >= 0) & (right <= self.width) & (bottom <= self.height)
        # A box of NaN is neither.
        wrong = np.flatnonzero(~(is_filled & is_inside))
        if len(wrong):
            edges = ", ".join(f"{edge:g}" for edge in self.boxes[wrong[0]])
            raise UsageError(
                f"box {wrong[0]}: got ({edges}) for an image of {self.width} x {self.height} "
                "pixels; give left < right and top < bottom inside it"
            )

    def _places_inside(self) -> np.ndarray:
        across, down = self.keypoints.T
        is_across = (across >= 0) & (across < self.width)
        is_down = (down >= 0) & (down < self.height)
        return is_across & is_down


def flip(annotated: AnnotatedImage) -> AnnotatedImage:
    """Mirror left to right; keypoints keep their order, so that a left eye is still called that."""
    mask = annotated.mask
    if mask is not None:
        mask = mask[:, ::-1]
    mirror = np.array([[-1.0, 0.0, annotated.width], [0.0, 1.0, 0.0]])
    return _moved(
        annotated,
        mirror,
        image=annotated.image[:, ::-1],
        mask=mask,
    )


def crop(
    annotated: AnnotatedImage,
    window: tuple[int, int, int, int],
    *,
    least_visible: float = LEAST_VISIBLE,
) -> AnnotatedImage:
    """Cut out a window.

    Args:
        annotated: what is cut.
        window: left, top, right and bottom edge in whole pixels.
        least_visible: the share of a box's area that must stay; boxes with less are dropped.

    Raises:
        UsageError: the window is empty or sticks out of the image.
    """
    left, top, right, bottom = window
    if not (0 <= left < right <= annotated.width and 0 <= top < bottom <= annotated.height):
        raise UsageError(
            f"crop: got {window} for an image of {annotated.width} x {annotated.height} pixels; "
            "give left < right and top < bottom inside it"
        )
    mask = annotated.mask
    if mask is not None:
        mask = mask[top:bottom, left:right]
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top]])
    return _moved(
        annotated,
        shift,
        image=annotated.image[top:bottom, left:right],
        mask=mask,
        least_visible=least_visible,
    )


def scale(annotated: AnnotatedImage, height: int, width: int) -> AnnotatedImage:
    """Scale to a size: the image with bilinear interpolation and antialiasing, the mask nearest.

    Raises:
        UsageError: the size has no pixels.
    """
    if height < 1 or width < 1:
        raise UsageError(f"scale: got {width} x {height} pixels; give at least 1 x 1")
    scaled = tf.image.resize(
        annotated.image,
        (height, width),
        antialias=True,
    )
    image = np.rint(scaled.numpy()).astype(np.uint8)
    mask = annotated.mask
    if mask is not None:
        # Of the pixel in which the centre of a new one lies.
        rows = (2 * np.arange(height) + 1) * annotated.height // (2 * height)
        columns = (2 * np.arange(width) + 1) * annotated.width // (2 * width)
        mask = mask[rows[:, None], columns]
    stretch = np.array([[width / annotated.width, 0.0, 0.0], [0.0, height / annotated.height, 0.0]])
    return _moved(
        annotated,
        stretch,
        image=image,
        mask=mask,
    )


def rotate(
    annotated: AnnotatedImage, degrees: float, *, least_visible: float = LEAST_VISIBLE
) -> AnnotatedImage:
    """Turn counter-clockwise about the centre; the size stays, and uncovered corners are black.

    The image is interpolated bilinearly, the mask is nearest. A new box is the smallest upright
    one around the visible part of the turned box.

    Args:
        annotated: what is turned.
        degrees: any number of them.
        least_visible: the share of a box's area that must stay; boxes with less are dropped.

    Raises:
        UsageError: the angle is not finite.
    """
    if not math.isfinite(degrees):
        raise UsageError(f"rotate: got {degrees} degrees; give a finite number")
    angle = math.radians(degrees)
    cosine = math.cos(angle)
    sine = math.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    centre = np.array([annotated.width / 2, annotated.height / 2])
    matrix = np.column_stack([turn, centre - turn @ centre])
    mask = annotated.mask
    if mask is not None:
        turned = _resampled(mask[..., None].astype(np.int32), matrix, "NEAREST")
        mask = turned[..., 0].astype(mask.dtype)
    return _moved(
        annotated,
        matrix,
        image=_resampled(annotated.image, matrix, "BILINEAR"),
        mask=mask,
        least_visible=least_visible,
    )


def _resampled(pixels: np.ndarray, matrix: np.ndarray, interpolation: str) -> np.ndarray:
    """Return pixels `[H, W, C]` moved by `matrix` `[2, 3]`, zeros where there were none."""
    back = np.linalg.inv(matrix[:, :2])
    # TensorFlow counts from the centre of the first pixel.
    half = np.full(2, 0.5)
    offset = back @ (half - matrix[:, 2]) - half
    row_by_row = np.column_stack([back, offset]).ravel()
    transform = np.append(row_by_row, [0.0, 0.0]).astype(np.float32)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels[None],
        transforms=transform[None],
        output_shape=pixels.shape[:2],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )
    return moved[0].numpy()


def _moved(
    annotated: AnnotatedImage,
    matrix: np.ndarray,
    *,
    image: np.ndarray,
    mask: np.ndarray | None,
    least_visible: float = 0.0,
) -> AnnotatedImage:
    """Return the new image and mask with boxes and keypoints moved by `matrix` `[2, 3]`."""
    size = (image.shape[1], image.shape[0])
    edges = np.array([*size, *size], np.float32)
    boxes = []
    kept = []
    least = least_visible * abs(np.linalg.det(matrix[:, :2]))
    for number, box in enumerate(annotated.boxes.astype(np.float64)):
        left, top, right, bottom = box
        corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        visible = _clipped(_apply(matrix, corners), size)
        if len(visible) == 0 or _area(visible) < least * (right - left) * (bottom - top):
            continue
        extent = np.concatenate([visible.min(axis=0), visible.max(axis=0)])
        upright = np.clip(extent.astype(np.float32), 0, edges)
        if np.all(upright[:2] < upright[2:]):
            boxes.append(upright)
            kept.append(number)
    labels = annotated.box_labels
    if labels is not None:
        labels = labels[kept]
    moved = replace(
        annotated,
        image=np.ascontiguousarray(image),
        boxes=np.reshape(boxes, (-1, 4)).astype(np.float32),
        box_labels=labels,
        mask=mask,
        keypoints=_apply(matrix, annotated.keypoints).astype(np.float32),
        inside=None,
    )
    assert moved.inside is not None
    assert annotated.inside is not None
    return replace(moved, inside=moved.inside & annotated.inside)


def _apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return points `[N, 2]` moved by `matrix` `[2, 3]`."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _clipped(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the part of a convex polygon `[N, 2]` between 0 and `size` (Sutherland, Hodgman 1974).

    The four sides of the image cut off what lies beyond them, one after the other.
    """
    for axis in (0, 1):
        for sign, limit in ((-1, 0.0), (1, float(size[axis]))):
            beyond = sign * (polygon[:, axis] - limit)
            points = []
            for number, point in enumerate(polygon):
                previous = polygon[number - 1]
                here = beyond[number]
                before = beyond[number - 1]
                if (here > 0) != (before > 0):
                    crossing = previous + (point - previous) * before / (before - here)
                    crossing[axis] = limit
                    points.append(crossing)
                if here <= 0:
                    points.append(point)
            polygon = np.reshape(points, (-1, 2))
    return polygon


def _area(polygon: np.ndarray) -> float:
    """Return the area of a polygon `[N, 2]` by the shoelace formula."""
    across, down = polygon.T
    doubled = across @ np.roll(down, -1) - down @ np.roll(across, -1)
    return abs(float(doubled)) / 2
