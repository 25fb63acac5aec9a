"""How data is read and changed."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check, is_number
from epochal.app.config.splits import Fold


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images; each is a pure function of (seed, epoch, position).

    Args:
        pad_crop: pad by this many pixels and crop back at a random place (null: an eighth of the side, up to 64 pixels)
        border: what those pixels show: reflect (the image mirrored) or black
        flip: mirror half of the images left to right (null: yes, except for digits)
        scale_crop: store images 8/7 larger, crop at random (256 to 224 style), centrally elsewhere (null: above 64 px)
    """

    pad_crop: int | None = None
    border: Literal["reflect", "black"] = "reflect"
    flip: bool | None = None
    scale_crop: bool | None = None

    def __post_init__(self) -> None:
        if self.pad_crop is not None:
            check(
                0 <= self.pad_crop <= 1024,
                "augment.pad_crop",
                "a number of pixels from 0 to 1024",
                self.pad_crop,
            )


@dataclass(frozen=True, kw_only=True)
class Data:
    """How data is read.

    Args:
        cache_gib: splits whose images take at most this much memory (GiB) are kept there as uint8, larger ones stream
        validation: share of the training images that is held out where the data set has no validation split (null: 0.1,
            of a single split 0.2)
        split: what validates instead: kfold:5/2 (the second of five folds), repeated:3x5/7 (the seventh of 3 times 5),
            bootstrap:5/2 (what the second of five resamples left out) or all (every image is trained on, also those
            that validate, and the last epoch's weights are kept) (null: see validation)
        part: share of what is left for training that is trained on, the same of every class (null: all)
        skip_bad: train without unreadable images (they are recorded in the run) instead of stopping
        order: of the training images: shuffled (anew every epoch), once (shuffled, then every epoch alike), replacement
            (each drawn from all) or interleaved (shuffled, neighbours of different classes as far as possible)
    """

    cache_gib: float = 1.0
    validation: float | None = None
    split: str | None = None
    part: float | None = None
    skip_bad: bool = False
    order: Literal["shuffled", "once", "replacement", "interleaved"] = "shuffled"

    def __post_init__(self) -> None:
        check(is_number(self.cache_gib, 0), "data.cache_gib", "0 or more", self.cache_gib)
        share = self.validation
        check(
            share is None or 0 < share <= 0.5, "data.validation", "above 0 and at most 0.5", share
        )
        folded = self.fold is not None
        check(
            share is None or not folded,
            "data.validation",
            f"null with data.split {self.split}",
            share,
        )
        check(
            self.part is None or 0 < self.part < 1,
            "data.part",
            "above 0 and below 1, or null",
            self.part,
        )

    @property
    def fold(self) -> Fold | None:
        """Which fold validates; None where it is none."""
        return None if self.split is None or self.split == "all" else Fold.of(self.split)
