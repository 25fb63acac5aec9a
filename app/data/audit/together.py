"""Near duplicates kept together: in one split where the application carves splits."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from epochal.app.characters import printable
from epochal.app.data.audit.alignment import SIDE
from epochal.app.data.audit.copies import find_copies, group
from epochal.app.data.dataset import RawDataset, Split
from epochal.app.data.decoding import luma, resize
from epochal.app.data.splits import NAMES
from epochal.app.store.data_card import CopiesAcross

_BLOCK_PIXELS = 2**23  # of images that are read together
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Groups:
    """Groups of near duplicates of a data set.

    Attributes:
        pool: name of the split that others are carved off.
        numbers: of the group of each image of a split's store, int `[N]`; equal numbers mean
            copies, also between splits.
    """

    pool: str
    numbers: dict[str, np.ndarray]

    @property
    def of_pool(self) -> np.ndarray:
        """The groups of the images from which splits are carved."""
        return self.numbers[self.pool]

    def describe(self, raw: RawDataset, moved: Sequence[tuple[str, int]]) -> CopiesAcross:
        """Return the copies across splits by name, and tell the user how many stay where they are.

        Args:
            raw: the data set that the groups are of.
            moved: split and index of each image that was moved to train.
        """
        left = []
        for split, numbers in self.numbers.items():
            if split == self.pool:
                continue
            others = [self.numbers[other] for other in self.numbers if other != split]
            is_copy = np.isin(numbers, np.concatenate(others))
            for index in np.flatnonzero(is_copy):
                left.append((raw.name_of(split, int(index)), split))
        named = tuple((raw.name_of(self.pool, index), split) for split, index in moved)
        if named:
            _LOG.info(
                f"{len(named):,} near duplicates were moved to the training images, "
                f"such as {printable(named[0][0])}"
            )
        if left:
            _LOG.info(
                f"{len(left):,} images of splits that the source gives have near duplicates in "
                f"other splits and stay, such as {printable(left[0][0])}"
            )
        return CopiesAcross(moved=named, left=tuple(left))


def group_copies(raw: RawDataset) -> Groups:
    """Return the near duplicates of a data set, found in its stored images.

    Whether these are in memory or stream makes no difference.
    """
    pictures = []
    for split in raw.splits.values():
        pictures.append(small_pictures(split, raw.shape.stored_size))
    numbers = group_pictures(np.concatenate(pictures))
    sizes = [len(part) for part in pictures]
    parts = np.split(numbers, np.cumsum(sizes)[:-1])
    pool = "train"
    if not set(raw.splits) & set(NAMES):
        pool = next(iter(raw.splits))
    return Groups(pool, dict(zip(raw.splits, parts, strict=True)))


def group_pictures(pictures: np.ndarray) -> np.ndarray:
    """Return the group of each picture, uint8 `[N, 32, 32]`: equal ones and copies are in one."""
    flat = pictures.reshape(len(pictures), -1)
    rows = np.ascontiguousarray(flat).view(np.dtype((np.void, flat.shape[1])))[:, 0]
    _, first, same_as = np.unique(rows, return_index=True, return_inverse=True)
    pairs, _ = find_copies(pictures[np.sort(first)])
    representatives = np.sort(first)[pairs]
    equal = np.stack([np.arange(len(pictures)), first[same_as]], axis=1)
    return group(np.concatenate([equal, representatives]), len(pictures))


def small_pictures(split: Split, side: int) -> np.ndarray:
    """Return the images of a split, of a side in pixels, grey and small: uint8 `[N, 32, 32]`."""
    pictures = np.empty((len(split), SIDE, SIDE), np.uint8)
    block_size = max(1, _BLOCK_PIXELS // side**2)
    for start in range(0, len(split), block_size):
        positions = np.arange(start, min(start + block_size, len(split)))
        images = split.subset(positions).read()
        pictures[positions] = shrink(images).numpy()
    return pictures


def shrink(images: tf.Tensor) -> tf.Tensor:
    """Return the central squares of images, uint8 `[n, H, W, C]`, grey and small: `[n, 32, 32]`."""
    if images.shape[-1] == 3:
        images = luma(images)
    return resize(images, SIDE)[..., 0]
