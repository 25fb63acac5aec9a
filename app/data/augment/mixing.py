"""Mixing of two training images into one, MixUp and CutMix, and the labels of such images.

The label of a mixed image is a row of three numbers: its own image's label, the partner's label,
and the share of its own.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import tensorflow as tf
from scipy.special import betaincinv

from epochal.app.config import Augment

MIXING = 10  # the stream of `draws`
_CELLS = 2**16  # of a table of quantiles
_HALF = 2**31  # of the values of a draw


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Mixes each image of a batch with a partner, by MixUp, CutMix, or one of them by a coin.

    Attributes:
        mixup: alpha, where the share of an image's own pixels is of Beta(alpha, alpha) (None: no
            MixUp). Zhang et al. 2018, arXiv:1710.09412.
        cutmix: the same of its area, the rest of which is a box of the partner's pixels (None: no
            CutMix). Yun et al. 2019, arXiv:1905.04899.
    """

    mixup: float | None = None
    cutmix: float | None = None

    @classmethod
    def from_config(cls, settings: Augment) -> "Mixing | None":
        """Return the configured mixing, None where there is none."""
        if settings.mixup is None and settings.cutmix is None:
            return None
        return cls(mixup=settings.mixup, cutmix=settings.cutmix)

    def __call__(
        self, images: tf.Tensor, partners: tf.Tensor, random: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Mix images by draws, uint32 `[n, 4]`.

        Args:
            images, partners: uint8 `[n, S, S, C]`.

        Returns:
            The mixed images, uint8, and how much of each is of `images`, float32 `[n]`.
        """
        results = []
        if self.mixup is not None:
            shares = beta_variables(self.mixup, random[:, 0])
            results.append((blend(images, partners, shares), shares))
        if self.cutmix is not None:
            shares = beta_variables(self.cutmix, random[:, 0])
            results.append(paste(images, partners, shares, random[:, 1:3]))
        if len(results) == 1:
            return results[0]
        (blended, blended_shares), (pasted, pasted_shares) = results
        is_blended = random[:, 3] < _HALF
        mixed = tf.where(
            is_blended[:, None, None, None],
            blended,
            pasted,
        )
        return mixed, tf.where(is_blended, blended_shares, pasted_shares)


def beta_variables(alpha: float, random: tf.Tensor) -> tf.Tensor:
    """Return numbers of Beta(alpha, alpha), float32 `[n]`, made of draws, uint32 `[n]`.

    They are quantiles, between those of a table linear.
    """
    table = _quantiles(alpha)
    # 24 bits, which float32 holds without rounding.
    uniform = tf.cast(random // 2**8, tf.float32) / 2**24
    place = uniform * _CELLS
    cell = tf.cast(place, tf.int32)
    fraction = place - tf.cast(cell, tf.float32)
    below = tf.gather(table, cell)
    above = tf.gather(table, cell + 1)
    return below + fraction * (above - below)


@cache
def _quantiles(alpha: float) -> np.ndarray:
    """Return the quantiles of Beta(alpha, alpha) at equal steps from 0 to 1, float32."""
    steps = np.linspace(0, 1, _CELLS + 1)
    return betaincinv(alpha, alpha, steps).astype(np.float32)


def blend(images: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Return `shares` of the images and the rest of the partners, rounded to uint8."""
    factors = shares[:, None, None, None]
    of_images = factors * tf.cast(images, tf.float32)
    of_partners = (1 - factors) * tf.cast(partners, tf.float32)
    return tf.cast(tf.round(of_images + of_partners), images.dtype)


def paste(
    images: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor, random: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a box of each partner into its image, and return what is left of the image's area.

    As in the authors' code the box has `1 - shares` of the area, its centre lies anywhere, and it
    is cut off at the border, so that more may be left than `shares`.

    Args:
        images, partners: uint8 `[n, S, S, C]`.
        shares: float32 `[n]`.
        random: of the box's centre, uint32 `[n, 2]`.
    """
    side = images.shape[1]
    box_side = tf.cast(side * tf.sqrt(1 - shares), tf.int32)[:, None]
    centre = tf.cast(random % tf.constant(side, tf.uint32), tf.int32)
    low = tf.maximum(centre - box_side // 2, 0)
    high = tf.minimum(centre + box_side // 2, side)
    pixels = tf.range(side)
    inside = (pixels >= low[..., None]) & (pixels < high[..., None])
    in_box = inside[:, 0, :, None] & inside[:, 1, None, :]
    pasted = tf.where(
        in_box[..., None],
        partners,
        images,
    )
    area = tf.reduce_prod(high - low, axis=1)
    left = side**2 - area
    return pasted, tf.cast(left, tf.float32) / side**2


def mixed_labels(labels: tf.Tensor, partners: tf.Tensor, shares: tf.Tensor) -> tf.Tensor:
    """Return the labels of mixed images, float32 `[n, 3]`.

    A row goes wherever a label does: into parts of batches, to replicas, into files.
    """
    columns = [
        tf.cast(labels, tf.float32),
        tf.cast(partners, tf.float32),
        shares,
    ]
    return tf.stack(columns, axis=1)


def are_mixed(labels: tf.Tensor | np.ndarray) -> bool:
    """Tell whether these are `mixed_labels`, not integers `[n]`."""
    return len(labels.shape) == 2


def taken_apart(labels: tf.Tensor | np.ndarray) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return what `mixed_labels` was made of: labels and partners' labels, int32, and shares."""
    rows = tf.convert_to_tensor(labels)
    classes = tf.cast(rows[:, :2], tf.int32)
    return classes[:, 0], classes[:, 1], rows[:, 2]
