"""The augmentation of a training image, from its draws: crop and mirroring."""

from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.windows import cut_windows
from epochal.app.data.preprocessing import crop_centre


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crop and mirroring of training images.

    Attributes:
        stored_size: side of the images.
        image_size: side after the crop; if smaller, the crop lies anywhere inside the image (256 to
            224 style).
        pad: pixels that are added on each side first (CIFAR style).
        border: which pixels: those of the image mirrored at its edge ("reflect"), or "black" ones.
        flip: whether half of the images are mirrored left to right.
    """

    stored_size: int
    image_size: int
    pad: int = 0
    border: str = "reflect"
    flip: bool = False

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """Crop and mirror images `[n, S, S, C]` by draws, uint32 `[n, 4]`, to `[n, s, s, C]`."""
        padded_size = self.stored_size + 2 * self.pad
        num_places = padded_size - self.image_size + 1
        divisor = tf.constant(num_places, tf.uint32)
        offsets = random[:, :2] % divisor
        corners = tf.cast(offsets, tf.int32) - self.pad
        coin = random[:, 2]
        mirrored = (coin >= 2**31) & self.flip
        return cut_windows(
            images,
            corners,
            mirrored,
            size=self.image_size,
            border=self.border,
        )

    def centre(self, images: tf.Tensor) -> tf.Tensor:
        """Cut the centre, as evaluation does: uint8 `[n, s, s, C]` of `[n, S, S, C]`."""
        return crop_centre(images, self.image_size)
