"""Preprocessing: from an image file to what a network sees, in training and exports alike.

It has two halves. `store` decodes a file and scales it to a square, which is what a data set keeps
in memory; `crop` takes the part of that square which the network sees. Normalisation lies inside
the model. Every operation is made of TensorFlow's, so that it gives the same bytes eagerly, in
tf.data and inside an exported model.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import tensorflow as tf

from epochal.app.data.decoding import decode, resize
from epochal.app.store.data_card import DataCard

if TYPE_CHECKING:
    from epochal.app.data.normalization import Normalization

_FILES_AT_A_TIME = 4  # each may take a gigabyte while it is decoded


@dataclass(frozen=True, kw_only=True)
class ImageShape:
    """Sizes of a data set's images, and the operations that bring images to these sizes.

    Attributes:
        channels: 1 (grey) or 3 (RGB).
        stored_size: side of a stored image, in pixels.
        image_size: side of what the network sees; smaller than `stored_size` only with
            augment.scale_crop.
    """

    channels: int
    stored_size: int
    image_size: int

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of a stored image."""
        return (self.stored_size, self.stored_size, self.channels)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the model's input."""
        return (self.image_size, self.image_size, self.channels)

    def store(self, encoded: tf.Tensor) -> tf.Tensor:
        """Decode an image file, a string scalar, into a stored image, uint8 `[S, S, C]`.

        Raises:
            tf.errors.InvalidArgumentError: the file is damaged, of another format or too large.
        """
        return resize(decode(encoded, self.channels), self.stored_size)

    def store_files(self, encoded: tf.Tensor) -> tf.Tensor:
        """Decode image files, strings `[N]`, into stored images, uint8 `[N, S, S, C]`."""
        return tf.map_fn(
            self.store,
            encoded,
            parallel_iterations=_FILES_AT_A_TIME,
            fn_output_signature=tf.TensorSpec(self.stored_shape, tf.uint8),
        )

    def store_pixels(self, images: tf.Tensor) -> tf.Tensor:
        """Scale decoded images of one size, uint8 `[N, H, W, C]`, to stored ones `[N, S, S, C]`."""
        return resize(images, self.stored_size)

    def crop(self, stored: tf.Tensor) -> tf.Tensor:
        """Cut what the network sees, `[..., s, s, C]`, out of stored images `[..., S, S, C]`."""
        return crop_centre(stored, self.image_size)


@dataclass(frozen=True, kw_only=True)
class Preprocessing(ImageShape):
    """All that turns a file into what a model was trained on; it travels with run and exports.

    Attributes:
        classes: names of the classes, in the order of the logits.
        mean, deviation: of each channel over the training split, in levels from 0 to 255; with
            minmax the darkest level, and the distance to the brightest.
        normalization: what a network does instead of subtracting the one and dividing by the other.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    normalization: "Normalization | None" = field(default=None, compare=False)

    @classmethod
    def from_card(
        cls, card: DataCard, normalization: "Normalization | None" = None
    ) -> "Preprocessing":
        """Return what the data card of a run says of it, and the arrays that it names, if any."""
        return cls(
            classes=card.classes,
            channels=card.channels,
            stored_size=card.stored_size,
            image_size=card.image_size,
            mean=card.mean,
            deviation=card.deviation,
            normalization=normalization,
        )


def crop_centre(images: tf.Tensor, size: int) -> tf.Tensor:
    """Cut the central `size` x `size` pixels out of images `[..., S, S, C]`."""
    start = (images.shape[-3] - size) // 2
    end = start + size
    return images[..., start:end, start:end, :]
