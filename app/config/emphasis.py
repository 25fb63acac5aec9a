"""Emphasis settings: training images that count more than others."""

from dataclasses import dataclass, fields
from typing import Literal

from epochal.app.config.checks import check, check_at_least, is_number
from epochal.app.config.settings import setting


@dataclass(frozen=True, kw_only=True)
class Emphasis:
    """More training on images whose loss is high.

    It harms where labels may be wrong, unless those images are trimmed.
    """

    by: Literal["sampler", "weights"] | None = setting(
        None,
        "sampler (hard images come more often) or weights (they weigh more in the gradient) "
        "(null: all images alike)",
    )
    start: int = setting(
        2,
        "epochs, with all images alike, before the losses found in training are believed",
        counts="epochs",
    )
    power: float = setting(
        0.5,
        "an image's share is its loss to this power, averaged over epochs (0: only what is trimmed "
        "is treated differently)",
    )
    cap: float = setting(4.0, "no image gets more than so many times an equal share")
    trim: float = setting(
        0.0,
        "share of the images, those whose loss stays highest, that is left out: likely mislabelled",
    )
    unbiased: bool = setting(
        False,
        "the sampler's images weigh as much less as they come more often: the mean gradient is "
        "that of all images, trimmed ones apart",
    )

    def __post_init__(self) -> None:
        changed = [
            f"emphasis.{field.name}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        if self.by is None and changed:
            check(
                False,
                "emphasis.by",
                f"sampler or weights with {', '.join(changed)}",
                None,
            )
        check_at_least(
            "emphasis.start",
            self.start,
            1,
            " epoch",
        )
        check_at_least("emphasis.power", self.power, 0)
        check(
            0 <= self.trim <= 0.5,
            "emphasis.trim",
            "from 0 to 0.5",
            self.trim,
        )
        least = 1 / (1 - self.trim)
        enough = is_number(self.cap, least)
        check(
            enough,
            "emphasis.cap",
            f"{least:.4g} or more, what the images left need",
            self.cap,
        )
        fits = self.by == "sampler" or not self.unbiased
        check(
            fits,
            "emphasis.by",
            "sampler with emphasis.unbiased",
            self.by,
        )
