"""Samples of shards, listed by split and class: numbers become names by a class list."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from epochal.app.config import Config
from epochal.app.data.file_inspection import BadFile
from epochal.app.data.sources.class_list import read_classes
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.data.sources.image_list import Layout, Listing
from epochal.app.data.sources.labels import choose_classes
from epochal.app.data.sources.members import Members, Place
from epochal.app.data.sources.shard_files import find_shards
from epochal.app.errors import UsageError

CLASSES = "classes.txt"  # beside shards, unless a configuration names another list


class Sample(NamedTuple):
    """An image in a shard and its class.

    Attributes:
        name: in the shard.
        place: of the image's bytes; None where it cannot be used.
        text: the label as text, which may be its number.
        number: the label's number, if it has one.
        is_named: whether the text is more than the number.
        fault: why it cannot be used.
    """

    name: str
    place: Place | None = None
    text: str = ""
    number: int | None = None
    is_named: bool = False
    fault: str = ""


def list_shards(
    config: Config, known: Sequence[str] | None, samples_of: Callable[[Path], Iterator[Sample]]
) -> Listing:
    """List the images of shards by split and class.

    Args:
        config: names the shards and, maybe, a list of classes.
        known: the classes of a trained network, of which the shards may have any.
        samples_of: gives the samples of a shard.

    Raises:
        UsageError: a shard cannot be used, or a label is outside the list of classes.
    """
    shards = find_shards(config.dataset)
    assert shards is not None
    folder = shards.root if shards.root.is_dir() else shards.root.parent
    names = _Names(folder, config.data.classes)
    places: dict[str, Place] = {}
    strays: list[BadFile] = []
    layout: Layout = {}
    for split, files in shards.files.items():
        by_class: dict[str, list[str]] = {}
        for file in files:
            shard = os.path.relpath(file, folder)
            for sample in _read(file, samples_of):
                name = f"{shard}/{sample.name}"
                if sample.place is None:
                    strays.append(BadFile(name, sample.fault))
                    continue
                class_name = names.of(sample, f"{quoted(file)}, {quoted(sample.name)}")
                by_class.setdefault(class_name, []).append(name)
                places[name] = sample.place
        if not by_class:
            raise UsageError(
                f"{quoted(shards.root)}: the {split} split has no image with a label; a sample is "
                "an image and its class (0001.jpg and 0001.cls), and class folders in an archive "
                "are to be unpacked"
            )
        layout[split] = by_class
    classes = choose_classes(
        shards.root,
        layout,
        given=names.given,
        known=known,
        order=names.order(),
    )
    return Listing(
        root=shards.root,
        layout=layout,
        classes=classes,
        store=Members(places),
        strays=tuple(strays),
        split_advice="give shards of train, val and test, where one image does",
    )


def _read(file: Path, samples_of: Callable[[Path], Iterator[Sample]]) -> Iterator[Sample]:
    if not file.is_file():  # a pipe would keep a reader waiting
        raise UsageError(f"{quoted(file)} is no regular file; give shards alone")
    try:
        yield from samples_of(file)
    except OSError as error:
        raise UsageError(f"{quoted(file)} cannot be read: {error.strerror}; check it") from error


class _Names:
    """Names of classes: of a list where there is one, else as the labels say."""

    def __init__(self, folder: Path, file: str | None) -> None:
        self.given: tuple[str, ...] | None = None
        if file is not None:
            self.given = read_classes(file)
        elif (folder / CLASSES).is_file():
            self.given = read_classes(folder / CLASSES)
        self._numbers: dict[str, int | None] = {}
        self._texts: dict[int, str] = {}

    def of(self, sample: Sample, where: str) -> str:
        """Return the class of a sample.

        Raises:
            UsageError: its number is outside of the list, or goes with two names.
        """
        number = sample.number
        if number is not None and number < 0:
            raise UsageError(
                f"{where}: label {number} is below 0, as of images without a class; leave it out"
            )
        if sample.is_named or number is None:
            self._check_pair(sample.text, number, where)
            return sample.text
        if self.given is None:
            self._check_pair(sample.text, number, where)
            return sample.text
        if number >= len(self.given):
            raise UsageError(
                f"{where}: label {number} is outside the class list, whose {len(self.given):,} "
                f"labels end at {len(self.given) - 1}; correct the label or the list"
            )
        return self.given[number]

    def order(self) -> dict[str, int] | None:
        """Return the number of each class; None where some have none."""
        numbers = {}
        for name, number in self._numbers.items():
            if number is None:
                return None
            numbers[name] = number
        return numbers

    def _check_pair(self, text: str, number: int | None, where: str) -> None:
        """Refuse a number that goes with two names, or a name with two numbers."""
        name = text
        if number is not None:
            name = self._texts.setdefault(number, text)
        if name != text or self._numbers.setdefault(text, number) != number:
            other = name if name != text else self._numbers[text]
            raise UsageError(
                f"{where}: class {quoted(text)} has label {number}, unlike others before "
                f"({other}); correct the labels"
            )
