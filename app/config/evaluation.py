"""Evaluation settings: how often a trained network looks at an image before it answers."""

from dataclasses import dataclass
from typing import Literal

from epochal.app.config.settings import setting

ViewsName = Literal["none", "mirrored", "shifted", "mirrored_shifted", "five_crop", "ten_crop"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Views of an image whose probabilities are averaged once training has ended."""

    views: ViewsName = setting(
        "none",
        "of an image, over which a trained network's probabilities are averaged: none (the centre "
        "alone), mirrored (it and its mirror image), shifted (it, and moved by a pixel in 32 to "
        "each side), mirrored_shifted (those and their mirror images), five_crop (corners and "
        "centre) or ten_crop (those and their mirror images); validation during training looks "
        "once",
        unsearchable="trials would not be scored alike; give it to the command",
        essential=False,
    )
