"""Augmentation settings: random changes of training images."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.checks import check_between
from epochal.app.config.settings import setting


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images, each a pure function of (seed, epoch, position)."""

    pad_crop: int | None = setting(
        None,
        "pad by this many pixels and crop back at a random place "
        "(null: an eighth of the side, up to 64 pixels)",
    )
    border: Literal["reflect", "black"] = setting(
        "reflect",
        "what those pixels show: reflect (the image mirrored) or black",
        before="black",
    )
    flip: bool | None = setting(
        None,
        "mirror half of the images left to right (null: yes, unless a simple rule can tell images "
        "from their mirror images, as it can characters)",
    )
    scale_crop: bool | None = setting(
        None,
        "store images 8/7 larger, crop at random (256 to 224 style), centrally elsewhere "
        "(null: above 64 px)",
    )

    def __post_init__(self) -> None:
        check_between(
            "augment.pad_crop",
            self.pad_crop,
            0,
            1024,
            " pixels",
        )
