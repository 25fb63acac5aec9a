"""Data cards: a run's images and their preprocessing, as `data.json` stores them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

NORMALIZATIONS = ("pixel", "pca", "whiten", "zca")  # that have arrays in the run's folder


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Number of images in each split."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, kw_only=True)
class CopiesAcross:
    """Near duplicates of images of other splits, by the names of the images."""

    moved: tuple[tuple[str, str], ...] = ()
    """Image and the split that it was taken out of, into training."""
    left: tuple[tuple[str, str], ...] = ()
    """Image and its split, which the source gave, so that it stayed."""


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """The data of a run; its folder needs no data set to be read again."""

    SCHEMA: ClassVar[int] = 1

    classes: tuple[str, ...]
    channels: int
    stored_size: int
    """Side of the decoded images."""
    image_size: int
    """Side of the images after the crop."""
    mean: tuple[float, ...]
    """Of each channel of the training images, in units of 0..255; with minmax the darkest level."""
    deviation: tuple[float, ...]
    """Standard deviation of each channel of the training images, in units of 0..255; with minmax
    the distance from the darkest level to the brightest."""
    fingerprint: str
    """SHA-256 of the images, labels and splits."""
    counts: Counts
    evaluated: tuple[str, ...] = ("validation", "test")
    """The splits whose figures are reported; a trial of a sweep leaves test out."""
    flippable: bool | None = None
    """Whether an image mirrored left to right may still show its class; None in earlier runs, which
    knew it by the name of the data set."""
    normalization: str | None = None
    """Kind of the arrays in the run's `normalization/`, by which its network reads images instead;
    None where mean and deviation are all."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Unusable files that were left out, each with the reason."""
    copies: CopiesAcross | None = None
    """Near duplicates across splits; None where they were not looked for."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values: dict[str, Any] = {
            "schema": self.SCHEMA,
            "classes": list(self.classes),
            "channels": self.channels,
            "stored_size": self.stored_size,
            "image_size": self.image_size,
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "normalization": self.normalization,
            "counts": asdict(self.counts),
            "evaluated": list(self.evaluated),
            "fingerprint": self.fingerprint,
            "flippable": self.flippable,
            "skipped": [list(entry) for entry in self.skipped],
        }
        if self.copies is not None:
            values["copies"] = asdict(self.copies)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DataCard":
        """Read what `to_dict` returned, also by earlier versions.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        counts = values["counts"]
        copies = None
        if values.get("copies") is not None:
            copies = CopiesAcross(
                moved=tuple((name, split) for name, split in values["copies"]["moved"]),
                left=tuple((name, split) for name, split in values["copies"]["left"]),
            )
        return cls(
            classes=tuple(map(str, values["classes"])),
            channels=int(values["channels"]),
            stored_size=int(values["stored_size"]),
            image_size=int(values["image_size"]),
            mean=tuple(map(float, values["mean"])),
            deviation=tuple(map(float, values["deviation"])),
            fingerprint=str(values["fingerprint"]),
            counts=Counts(
                train=int(counts["train"]),
                validation=int(counts["validation"]),
                test=int(counts["test"]),
            ),
            evaluated=tuple(values.get("evaluated", ("validation", "test"))),
            flippable=values.get("flippable"),
            normalization=_kind_of(values.get("normalization")),
            skipped=tuple((path, reason) for path, reason in values.get("skipped", ())),
            copies=copies,
        )


def _kind_of(value: Any) -> str | None:
    if value not in (None, *NORMALIZATIONS):
        raise ValueError(f"normalization {value!r} is unknown")
    return value
