"""Which training images count more than others."""

from dataclasses import dataclass, fields
from typing import Literal

from epochal.app.config.checks import check, is_number


@dataclass(frozen=True, kw_only=True)
class Emphasis:
    """More training on images whose loss is high; not where labels may be wrong, unless those are trimmed.

    Args:
        by: sampler (hard images come more often) or weights (they weigh more in the gradient) (null: all images alike)
        start: epochs, with all images alike, before the losses found in training are believed
        power: an image's share is its loss to this power, averaged over epochs (0: only what is trimmed is treated
            differently)
        cap: no image gets more than so many times an equal share
        trim: share of the images, those whose loss stays highest, that is left out: likely mislabelled
        unbiased: the sampler's images weigh as much less as they come more often: the mean gradient is that of all
            images, trimmed ones apart
    """

    by: Literal["sampler", "weights"] | None = None
    start: int = 2
    power: float = 0.5
    cap: float = 4.0
    trim: float = 0.0
    unbiased: bool = False

    def __post_init__(self) -> None:
        given = [
            f"emphasis.{field.name}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        check(
            self.by is not None or not given,
            "emphasis.by",
            f"sampler or weights with {', '.join(given)}",
            self.by,
        )
        check(self.start >= 1, "emphasis.start", "1 epoch or more", self.start)
        check(is_number(self.power, 0), "emphasis.power", "0 or more", self.power)
        check(0 <= self.trim <= 0.5, "emphasis.trim", "from 0 to 0.5", self.trim)
        least = 1 / (1 - self.trim)
        check(
            is_number(self.cap, least),
            "emphasis.cap",
            f"{least:.4g} or more, what the images left need",
            self.cap,
        )
        check(
            self.by == "sampler" or not self.unbiased,
            "emphasis.by",
            "sampler with emphasis.unbiased",
            self.by,
        )
