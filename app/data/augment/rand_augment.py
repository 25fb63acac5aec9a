"""RandAugment and TrivialAugment: random operations of Pillow's, drawn for each image.

Cubuk et al. 2020, arXiv:1909.13719, and Müller and Hutter 2021, arXiv:2103.10158. What a magnitude
is in each operation is as in torchvision's classes of these names.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from epochal.app.data.augment import operations
from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.told import Told

STRONGEST = 30  # the largest magnitude; there are 31
OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "contrast",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
    "colour",
    "sharpness",
)
_STREAM = 11  # of random numbers
_WARPS = OPERATIONS.index("shear_x")  # the first of the operations that move pixels
_TABLES = OPERATIONS.index("brightness")  # ... that are a table of levels
_BLENDS = OPERATIONS.index("colour")  # ... that differ from pixel to pixel


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """The strength of each operation at the largest magnitude; at 0 it changes nothing.

    Attributes:
        shear: pixels a pixel.
        translate: pixels.
        rotate: degrees.
        enhance: what factors of brightness, colour, contrast and sharpness are off 1.
        posterize: bits that are lost.
    """

    shear: float
    translate: float
    rotate: float
    enhance: float
    posterize: int


def usual_ranges(side: int) -> Ranges:
    """Return RandAugment's ranges for images of a side; that of translation is a share of it."""
    return Ranges(shear=0.3, translate=150 / 331 * side, rotate=30, enhance=0.9, posterize=4)


WIDE = Ranges(shear=0.99, translate=32, rotate=135, enhance=0.99, posterize=6)


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Applies some of 14 operations to each image, one after the other, each as likely.

    Attributes:
        count: of operations an image.
        magnitude: of all of them, from 0 to 30; None draws one for each (TrivialAugment).
        ranges: what a magnitude of 30 is.
        border: what lies outside of an image, as for `Warp`.
    """

    count: int
    magnitude: float | None
    ranges: Ranges
    border: str = "reflect"

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Change images in levels, float32 `[n, s, s, C]`, which are rounded before."""
        images = operations.to_levels(levels)
        for random in self._random(draws):
            images = self.operate(images, random)
        return tf.cast(images, tf.float32)

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images draw, in words: operations, and their magnitudes out of 30."""
        told = []
        for random in self._random(draws):
            chosen, share, signs = self._choose(random)
            words = []
            for place, strength in zip(chosen.numpy(), (signs * share).numpy(), strict=True):
                name = OPERATIONS[place].replace("_", " ")
                words.append("" if place == 0 else f"{name} {strength * STRONGEST:+.0f}")
            told.append(words)
        return told

    def operate(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """Apply an operation to each image, uint8, by random numbers below 1, `[n, 4]`.

        Operations that are computed alike are computed together, for their images alone.
        """
        chosen, share, signs = self._choose(random)
        firsts = (0, _WARPS, _TABLES, _BLENDS, len(OPERATIONS))
        functions = (self._leave, self._warp, self._map_levels, self._blend)
        places = []
        results = []
        for first, end, function in zip(firsts, firsts[1:], functions, strict=False):
            is_of_group = (chosen >= first) & (chosen < end)
            place = tf.cast(tf.where(is_of_group)[:, 0], tf.int32)
            result = function(
                tf.gather(images, place),
                tf.gather(chosen, place) - first,
                tf.gather(share, place),
                tf.gather(signs, place),
            )
            places.append(place)
            results.append(result)
        changed = tf.dynamic_stitch(places, results)
        return tf.ensure_shape(changed, images.shape)

    def _random(self, draws: Draws) -> list[tf.Tensor]:
        """Return the random numbers of each operation in turn, float32 `[n, 4]`."""
        return tf.split(draws.uniform(_STREAM, 4 * self.count), self.count, axis=1)

    def _choose(self, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return each image's operation, its share of the largest magnitude, and its sign."""
        chosen = tf.cast(random[:, 0] * len(OPERATIONS), tf.int32)
        if self.magnitude is None:
            share = tf.floor(random[:, 1] * (STRONGEST + 1)) / STRONGEST
        else:
            share = tf.fill(tf.shape(chosen), tf.constant(self.magnitude / STRONGEST))
        signs = tf.where(random[:, 2] < 0.5, -1.0, 1.0)
        return chosen, share, signs

    def _leave(
        self, images: tf.Tensor, chosen: tf.Tensor, share: tf.Tensor, signs: tf.Tensor
    ) -> tf.Tensor:
        return images

    def _warp(
        self, images: tf.Tensor, chosen: tf.Tensor, share: tf.Tensor, signs: tf.Tensor
    ) -> tf.Tensor:
        strength = signs * share
        ranges = self.ranges
        angle = np.pi / 180 * ranges.rotate * strength
        cosine = tf.cos(angle)
        sine = tf.sin(angle)
        centre = images.shape[1] / 2
        one = tf.ones_like(strength)
        zero = tf.zeros_like(strength)
        lean = ranges.shear * strength
        shift = ranges.translate * strength
        # Factors of row and column and a sum for the row, then for the column.
        maps = [
            (one, zero, zero, lean, one, zero),
            (one, lean, zero, zero, one, zero),
            (one, zero, zero, zero, one, shift),
            (one, zero, shift, zero, one, zero),
            (
                cosine,
                sine,
                (1 - cosine - sine) * centre,
                -sine,
                cosine,
                (1 - cosine + sine) * centre,
            ),
        ]
        of_operations = tf.stack([tf.stack(numbers, axis=1) for numbers in maps], axis=1)
        own = tf.gather(of_operations, chosen, batch_dims=1)
        return operations.affine(images, tf.reshape(own, [-1, 2, 3]), border=self.border)

    def _map_levels(
        self, images: tf.Tensor, chosen: tf.Tensor, share: tf.Tensor, signs: tf.Tensor
    ) -> tf.Tensor:
        factors = 1 + self.ranges.enhance * signs * share
        lost_bits = tf.cast(tf.round(self.ranges.posterize * share), tf.int32)
        counts = operations.histograms(images)
        tables = []
        for table in (
            operations.brightness_tables(factors),
            operations.contrast_tables(images, factors),
            operations.posterize_tables(8 - lost_bits),
            operations.solarize_tables(255 * (1 - share)),
            operations.autocontrast_tables(counts),
            operations.equalize_tables(counts),
        ):
            tables.append(tf.broadcast_to(table, tf.shape(counts)))
        own = tf.gather(tf.stack(tables, axis=1), chosen, batch_dims=1)
        return operations.look_up(images, own)

    def _blend(
        self, images: tf.Tensor, chosen: tf.Tensor, share: tf.Tensor, signs: tf.Tensor
    ) -> tf.Tensor:
        factors = 1 + self.ranges.enhance * signs * share
        greyed = tf.broadcast_to(operations.grey(images), tf.shape(images))
        is_colour = (chosen == 0)[:, None, None, None]
        degenerate = tf.where(is_colour, greyed, operations.smooth(images))
        return operations.blend_with(degenerate, images, factors)
