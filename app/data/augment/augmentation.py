"""The augmentation of training images: a window or a warp, then changes of their levels."""

from dataclasses import dataclass
from typing import Literal, Protocol

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.told import Told, worded
from epochal.app.data.augment.warp import Warp, Window
from epochal.app.data.augment.windows import cut_windows
from epochal.app.data.preprocessing import crop_centre


class Change(Protocol):
    """A change of levels."""

    def __call__(self, levels: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Change images in levels of 0 to 255, float32 `[n, s, s, C]`; some may end outside."""

    def told(self, side: int, draws: Draws) -> Told:
        """Return what images of `side` pixels draw, in words."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images, each a pure function of (seed, epoch, position).

    Attributes:
        stored_size: side of the images.
        image_size: side after the crop; if smaller, the crop lies anywhere inside the image (256 to
            224 style).
        pad: pixels that are added on each side first (CIFAR style).
        border: which pixels: those of the image mirrored at its edge ("reflect"), or "black" ones.
        flip: which images are mirrored left to right: none, half of them at random (True, too), or
            "alternating": half of them in the first epoch, and from then on each in every other
            epoch (Jordan 2024, arXiv:2404.00498, section 3.6).
        flip_vertical: whether half of the images are mirrored top to bottom.
        warp: turns, moves, scales and bends images before the crop; None leaves them.
        changes: of levels, in their order.
        noisy_copies: how often each image comes once more in an epoch, as a noisy copy.
    """

    stored_size: int
    image_size: int
    pad: int = 0
    border: str = "reflect"
    flip: Literal["random", "alternating"] | bool = False
    flip_vertical: bool = False
    warp: Warp | None = None
    changes: tuple[Change, ...] = ()
    noisy_copies: int = 0

    def __call__(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Change images, uint8 `[n, S, S, C]`, by what they draw, to uint8 `[n, s, s, C]`.

        Levels are rounded once, after the last change.
        """
        window = self._window(draws)
        if self.warp is not None:
            images = self.warp(images, window, draws)
        else:
            images = cut_windows(
                images,
                window.corners,
                window.mirrored,
                size=self.image_size,
                border=self.border,
                upended=window.upended,
            )
        if self.warp is None and not self.changes:
            return images
        levels = tf.cast(images, tf.float32)
        for change in self.changes:
            levels = change(levels, draws)
        return round_levels(levels)

    def told(self, draws: Draws) -> list[list[str]]:
        """Return what each image draws, in words: a list for each, of what changes it."""
        window = self._window(draws)
        told = []
        if self.warp is None or self.warp.resized_crop is None:
            middle = (self.stored_size - self.image_size) // 2
            down, right = tf.transpose(window.corners - middle)
            told.append(worded("window {:+d} down, {:+d} right", down, right))
        told.append(worded("mirrored", window.mirrored))
        if window.upended is not None:
            told.append(worded("upside down", window.upended))
        if self.warp is not None:
            told += self.warp.told(self.stored_size, draws)
        for change in self.changes:
            told += change.told(self.image_size, draws)
        if self.noisy_copies:
            told.append(worded("copy {}", draws.copies))
        images = []
        for words in zip(*told, strict=True):
            images.append([word for word in words if word])
        return images

    def centre(self, images: tf.Tensor) -> tf.Tensor:
        """Cut the centre, as evaluation does: uint8 `[n, s, s, C]` of `[n, S, S, C]`."""
        return crop_centre(images, self.image_size)

    def _window(self, draws: Draws) -> Window:
        """Return the crop and the mirroring that images draw."""
        random = draws.words(0)
        padded_size = self.stored_size + 2 * self.pad
        num_places = padded_size - self.image_size + 1
        divisor = tf.constant(num_places, tf.uint32)
        offsets = random[:, :2] % divisor
        upended = None
        if self.flip_vertical:
            upended = random[:, 3] >= 2**31
        return Window(
            corners=tf.cast(offsets, tf.int32) - self.pad,
            mirrored=self._mirrored(random[:, 2], draws),
            upended=upended,
        )

    def _mirrored(self, coin: tf.Tensor, draws: Draws) -> tf.Tensor:
        if self.flip == "alternating":
            is_odd = draws.epoch % 2 == 1
            return tf.math.logical_xor(draws.mirrored_at_first(), is_odd)
        return (coin >= 2**31) & bool(self.flip)


def round_levels(levels: tf.Tensor) -> tf.Tensor:
    """Return the nearest levels from 0 to 255, uint8, of floats of any size."""
    inside = tf.clip_by_value(levels, 0.0, 255.0)
    return tf.cast(inside + 0.5, tf.uint8)
