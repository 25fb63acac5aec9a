"""Prepared data: a folder of decoded images that `epochal data prepare` made, and its record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

PREPARED = "prepared.json"
DIGESTS = "digests.json"


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """A split of prepared data.

    Attributes:
        shards: images in each of its files.
    """

    shards: tuple[int, ...]

    @property
    def count(self) -> int:
        """Images in the split."""
        return sum(self.shards)


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The record of prepared data.

    Attributes:
        source: the data set that was prepared, as its user called it.
        content: SHA-256 of what was to be prepared: sizes, classes, labels and digests of the
            source's files.
        classes: names, in the order of the labels.
        channels: 1 or 3.
        stored_size: side of the images here.
        image_size: side of what a network sees of them.
        native_size: the side of the source's images; None where they differ.
        flippable: whether the source's name tells of images that may be mirrored.
        splits: by name.
        skipped: path and fault of each of the source's files that was left out.
    """

    SCHEMA: ClassVar[int] = 1

    source: str
    content: str
    classes: tuple[str, ...]
    channels: int
    stored_size: int
    image_size: int
    native_size: int | None
    flippable: bool
    splits: dict[str, PreparedSplit]
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def image_bytes(self) -> int:
        """Bytes of an image: its pixels, row by row, channels last."""
        return self.stored_size**2 * self.channels

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"schema": self.SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PreparedData":
        """Read what `to_dict` returned, also by earlier versions.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        native_size = values["native_size"]
        splits = {}
        for name, split in values["splits"].items():
            splits[str(name)] = PreparedSplit(shards=tuple(map(int, split["shards"])))
        return cls(
            source=str(values["source"]),
            content=str(values["content"]),
            classes=tuple(map(str, values["classes"])),
            channels=int(values["channels"]),
            stored_size=int(values["stored_size"]),
            image_size=int(values["image_size"]),
            native_size=None if native_size is None else int(native_size),
            flippable=bool(values["flippable"]),
            splits=splits,
            skipped=tuple((path, reason) for path, reason in values["skipped"]),
        )


def shard_file(folder: Path, split: str, number: int) -> Path:
    """Return the file of decoded images of a split's shard."""
    return folder / f"{split}-{number:05}.images"


def labels_file(folder: Path, split: str) -> Path:
    """Return the file of a split's labels, int32, little-endian."""
    return folder / f"{split}.labels"
