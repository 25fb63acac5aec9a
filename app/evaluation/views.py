"""Views: parts of a stored image that a network sees one by one, and the mean of its answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.augment.configured import padding_for
from epochal.app.data.preprocessing import ImageShape
from epochal.app.errors import UsageError

_SHIFTED = 32  # of so many pixels of the side, one
_UNMOVED = (0, 0)
_MIRRORING = ("mirrored", "mirrored_shifted", "ten_crop")


@dataclass(frozen=True)
class Window:
    """A square of the network's size inside a stored image, or sticking out of it.

    Attributes:
        top, left: the place of its first pixel; below 0 it lies outside.
        mirrored: left to right.
    """

    top: int
    left: int
    mirrored: bool = False


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of stored images, over which the probabilities of a network are averaged.

    Source: corners, centre and their mirror images, Krizhevsky et al. 2012, section 4.1; mirrored
    and translated by a pixel, Jordan 2024, arXiv:2404.00498.

    Attributes:
        shape: sizes of the images.
        windows: the views, the central one first.
        border: what lies outside of an image: it mirrored at its outermost pixels ("reflect"), or
            "black" ones.
    """

    shape: ImageShape
    windows: tuple[Window, ...]
    border: str = "reflect"

    def logits(self, network: Callable[..., Any], stored: tf.Tensor) -> tf.Tensor:
        """Return float32 logits `[N, classes]` of stored images `[N, S, S, C]`; see `average`."""
        return self.average(network(self.cut(stored), training=False))

    def cut(self, stored: tf.Tensor) -> tf.Tensor:
        """Return the views `[V * N, s, s, C]` of stored images: the first of all, the second ..."""
        if len(self.windows) == 1:
            return self.shape.crop(stored)
        views = [self._cut_window(stored, window) for window in self.windows]
        return tf.concat(views, axis=0)

    def average(self, logits: tf.Tensor) -> tf.Tensor:
        """Return the logarithms of the mean probabilities, float32 `[N, classes]`.

        They are logits, whose softmax is that mean. Of a single view they are its own logits.

        Args:
            logits: of the views as `cut` orders them, `[V * N, classes]`.
        """
        logits = tf.cast(logits, tf.float32)
        num_views = len(self.windows)
        if num_views == 1:
            return logits
        logarithms = tf.nn.log_softmax(logits)
        logarithms = tf.reshape(logarithms, [num_views, -1, logits.shape[-1]])
        # The largest is taken out, since a probability alone may round to zero.
        largest = tf.reduce_max(logarithms, axis=0)
        ratios = tf.exp(logarithms - largest)
        return largest + tf.math.log(tf.reduce_mean(ratios, axis=0))

    def of_first(self, values: tf.Tensor) -> tf.Tensor:
        """Return what belongs to the central views, `[N, ...]`, of values `[V * N, ...]`."""
        num_images = tf.shape(values)[0] // len(self.windows)
        return values[:num_images]

    def _cut_window(self, stored: tf.Tensor, window: Window) -> tf.Tensor:
        # Gathers from constant places, since these every format of export has.
        rows = np.arange(self.shape.image_size) + window.top
        columns = np.arange(self.shape.image_size) + window.left
        if window.mirrored:
            columns = columns[::-1]
        last = self.shape.stored_size - 1
        inner_rows = last - np.abs(last - np.abs(rows))
        inner_columns = last - np.abs(last - np.abs(columns))
        if self.border == "black":
            # One black row and column behind the image stand for all that lies outside. LiteRT pads
            # no bytes.
            levels = tf.pad(tf.cast(stored, tf.int32), [[0, 0], [0, 1], [0, 1], [0, 0]])
            stored = tf.cast(levels, stored.dtype)
            inner_rows = np.where(inner_rows == rows, rows, last + 1)
            inner_columns = np.where(inner_columns == columns, columns, last + 1)
        view = tf.gather(stored, inner_rows.astype(np.int32), axis=1)
        return tf.gather(view, inner_columns.astype(np.int32), axis=2)


def views_for(config: Config, shape: ImageShape, *, flippable: bool) -> Views:
    """Return the views that a configuration asks for.

    Crops are the corners of the stored image; where the network sees all of it, of the image with
    the padding that training crops from.

    Args:
        config: of the run.
        shape: sizes of its images.
        flippable: whether a mirrored image may still show its class.

    Raises:
        UsageError: there is no room for crops, or mirror images show other classes.
    """
    name = config.evaluation.views
    if name in _MIRRORING and not (flippable or config.augment.flip):
        raise UsageError(
            f"evaluation.views {name}: mirror images of {config.dataset_name} may show another "
            "class, and the network is not trained on any; take shifted, five_crop or none, or "
            "train with --augment.flip true"
        )
    windows = []
    for top, left in _places(name, config, shape):
        windows.append(Window(top, left))
    if name in _MIRRORING:
        windows += [Window(window.top, window.left, mirrored=True) for window in windows]
    return Views(shape=shape, windows=tuple(windows), border=config.augment.border)


def _places(name: str, config: Config, shape: ImageShape) -> list[tuple[int, int]]:
    """Return top and left of each view that is not mirrored, those of the centre first."""
    first = 0
    last = shape.stored_size - shape.image_size
    middle = last // 2
    moves = [_UNMOVED]
    if name.endswith("shifted"):
        distance = max(1, round(shape.image_size / _SHIFTED))
        moves += [(-distance, 0), (distance, 0), (0, -distance), (0, distance)]
    places = [(middle + down, middle + right) for down, right in moves]
    if not name.endswith("crop"):
        return places
    if last == 0:
        pad = padding_for(config, shape)
        first = -pad
        last = pad
    if first == last:
        raise UsageError(
            f"evaluation.views {name}: the network sees all {shape.image_size} pixels of an image, "
            "which has no corners then; take shifted or none, or train with --augment.scale-crop "
            "true or --augment.pad-crop above 0"
        )
    return [*places, (first, first), (first, last), (last, first), (last, last)]
