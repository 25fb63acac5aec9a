"""Lists of images by split and class: inspected whole, then made into splits.

Folders, tables of paths, tar shards and TFRecord files differ in how images are listed and how
their bytes are read. All else is here: every unusable image is named before training starts, a
class with too few images is refused, and a data set that changes while it is read is, too.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import tensorflow as tf

from epochal.app.characters import look_alike_key, printable
from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset, Split
from epochal.app.data.file_inspection import BadFile, BadFiles, ImageFacts, inspect_files
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources.folder_listing import listed, quoted
from epochal.app.data.sources.shared import choose_shape, make_split
from epochal.app.data.sources.split_names import ALL
from epochal.app.errors import UsageError
from epochal.app.units import number_of

MIN_IMAGES_TO_SPLIT = 3  # one each for training, validation and test
Layout = dict[str, dict[str, list[str]]]  # split -> class -> names of images
State = dict[str, tuple[int, int, int] | None]  # of files, by path


class Store(Protocol):
    """Bytes of images by name."""

    def inspect(self, names: Sequence[str]) -> list[ImageFacts | BadFile]:
        """Decode every image, and return in order what each is, or its fault."""
        ...

    def loader(self, names: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
        """Return a function, in TensorFlow operations, from a place in `names` to its bytes."""
        ...

    def files(self, names: Iterable[str]) -> Iterable[str]:
        """Return the paths of the files that hold these images."""
        ...


class FilesOnDisk:
    """A file for each image, named by its path."""

    def inspect(self, names: Sequence[str]) -> list[ImageFacts | BadFile]:
        """Decode every file, and return in order what each is, or its fault."""
        return inspect_files(names)

    def loader(self, names: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
        """Return a function, in TensorFlow operations, from a place in `names` to its bytes."""
        paths = tf.constant(list(names))
        return lambda index: tf.io.read_file(paths[index])

    def files(self, names: Iterable[str]) -> Iterable[str]:
        """Return the paths, which the names are."""
        return names


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Images as a source lists them, before any is decoded.

    Attributes:
        root: file or folder of the data set.
        layout: names of the images.
        classes: in the order of the labels.
        store: reads the images.
        strays: what was found at a wrong place, or without a label.
        watched: files that tell of a change, beside those that hold the images.
        relist: lists the images once more; None where the files alone tell of every change.
        split_advice: says how splits are given, where a class has too few images to carve them.
    """

    root: Path
    layout: Layout
    classes: tuple[str, ...]
    store: Store
    strays: tuple[BadFile, ...] = ()
    watched: tuple[str, ...] = ()
    relist: Callable[[], Layout] | None = None
    split_advice: str


@dataclass(frozen=True)
class FileList:
    """The images of one split.

    Attributes:
        paths: names of the images.
        labels: int32 `[len(paths)]`, places in the class list.
        digests: of the files' content.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[str, ...]


@dataclass(frozen=True)
class ImageScan:
    """Content of a listing, every image of which was decoded.

    Attributes:
        root: file or folder of the data set.
        classes: the same for all splits.
        splits: "train", "validation" and "test" as far as they exist, or "all".
        channels: 1 if every image is grey (its channels are equal), else 3.
        native_size: side of the square that all images are, or None.
        bad: images left out.
        listing: what was inspected.
        state: of the files before they were read.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, FileList]
    channels: int
    native_size: int | None
    bad: tuple[BadFile, ...]
    listing: Listing
    state: State


def inspect_listing(listing: Listing, *, skip_bad: bool, must_train: bool) -> ImageScan:
    """Decode every image of a listing.

    Args:
        listing: of a source.
        skip_bad: leave unusable images out instead of raising.
        must_train: every class must have the images that training needs.

    Raises:
        BadFiles: some images are unusable and `skip_bad` is false, or too few are left.
        UsageError: a class has too few.
    """
    names: list[str] = []
    for by_class in listing.layout.values():
        for of_class in by_class.values():
            names += of_class
    state = state_of([*listing.watched, *listing.store.files(names)])
    good = {}
    bad = list(listing.strays)
    for name, result in zip(names, listing.store.inspect(names), strict=True):
        if isinstance(result, BadFile):
            bad.append(result)
        else:
            good[name] = result
    _refuse_bad(
        listing.root,
        bad,
        num_good=len(good),
        skip_bad=skip_bad,
    )
    if must_train:
        _check_counts(listing, good, bad)
    splits = {}
    for split, by_class in listing.layout.items():
        splits[split] = _list_files(listing.classes, by_class, good)
    sides = set()
    channels = 1
    for facts in good.values():
        sides |= {facts.height, facts.width}
        if not facts.grey:
            channels = 3
    native_size = None
    if len(sides) == 1:
        (native_size,) = sides
    return ImageScan(
        root=listing.root,
        classes=listing.classes,
        splits=splits,
        channels=channels,
        native_size=native_size,
        bad=tuple(bad),
        listing=listing,
        state=state,
    )


def raw_dataset(scan: ImageScan, config: Config) -> RawDataset:
    """Return the data set of the images that a scan found usable.

    Raises:
        UsageError: the images have no size, or have changed since the scan began.
    """
    shape = choose_shape(config, scan.native_size, scan.channels)
    splits = splits_of(scan, shape, config.data.cache_gib)
    digests: dict[str, str] = {}
    names = {}
    folder = scan.root if scan.root.is_dir() else scan.root.parent
    beginning = os.path.join(folder, "")
    for split, files in scan.splits.items():
        names[split] = tuple(path.removeprefix(beginning) for path in files.paths)
        digests.update(zip(names[split], files.digests, strict=True))
    return RawDataset(
        splits=splits,
        classes=scan.classes,
        shape=shape,
        native_size=scan.native_size,
        digests=digests,
        skipped=tuple((file.path, file.reason) for file in scan.bad),
        names=names,
        check_unchanged=partial(check_unchanged, scan),
    )


def splits_of(scan: ImageScan, shape: ImageShape, cache_gib: float) -> dict[str, Split]:
    """Return the splits of the images that a scan found usable, in memory where they fit.

    Raises:
        UsageError: the images have changed since the scan began.
    """
    splits = {}
    for name, files in scan.splits.items():
        if files.paths:
            splits[name] = make_split(
                scan.listing.store.loader(files.paths),
                files.labels,
                shape,
                cache_gib,
            )
    check_unchanged(scan)
    return splits


def state_of(paths: Iterable[str]) -> State:
    """Return size, time of change (ns) and inode of each file; None of one that is not there."""
    states: State = {}
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            states[path] = None
        else:
            states[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
    return states


def check_unchanged(scan: ImageScan) -> None:
    """Refuse data that were changed while they were read.

    Raises:
        UsageError: naming the first file.
    """
    for path, now in state_of(scan.state).items():
        if now != scan.state[path]:
            fault = "gone" if now is None else "another file than before"
            raise UsageError(
                f"{quoted(scan.root)} changed while it was read: {quoted(path)} is {fault}; "
                "run again when nothing writes there"
            )
    relist = scan.listing.relist
    if relist is not None and relist() != scan.listing.layout:
        raise UsageError(
            f"{quoted(scan.root)} changed while it was read: there are new files; "
            "run again when nothing writes there"
        )


def check_class_names(root: Path, names: Iterable[str], kind: str = "class") -> None:
    """Refuse names that people could not read, or could not tell apart.

    Args:
        root: file or folder of the data set, for messages.
        names: of classes.
        kind: what a message calls a class; "class folder" has a path.
    """
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            place: str | Path = name
            if kind == "class folder":
                place = root / name
            raise UsageError(
                f"{kind} {quoted(place)} has control or undecodable characters in its name; "
                "rename it"
            )
        key = look_alike_key(name)
        if key in seen:
            raise UsageError(
                f"classes {quoted(seen[key])} and {quoted(name)} in {quoted(root)} have "
                "the same name but for case, spaces or Unicode form; rename or merge them"
            )
        seen[key] = name


def check_known(root: Path, layout: Layout, known: Sequence[str], cure: str) -> None:
    """Refuse a class that a trained network does not know."""
    for by_class in layout.values():
        for name in by_class:
            if name not in known:
                raise UsageError(
                    f"class {quoted(name)} in {quoted(root)} is none of the run's, which are "
                    f"{listed(known)}; {cure}"
                )


def check_split_classes(layout: Layout) -> tuple[str, ...]:
    """Return the classes of the training images, of which every split must have its own."""
    classes = layout.get(ALL) or layout["train"]
    for split, by_class in layout.items():
        for name in by_class:
            if name not in classes:
                raise UsageError(
                    f"class {quoted(name)} is in the {split} split but not in 'train', which has "
                    f"{listed(classes)}; add it there or remove it"
                )
    return tuple(classes)


def _list_files(
    classes: Sequence[str], by_class: Mapping[str, list[str]], good: Mapping[str, ImageFacts]
) -> FileList:
    paths = []
    labels = []
    digests = []
    for label, name in enumerate(classes):
        for path in by_class.get(name, ()):
            if path in good:
                paths.append(path)
                labels.append(label)
                digests.append(good[path].digest)
    return FileList(
        paths=tuple(paths),
        labels=np.array(labels, np.int32),
        digests=tuple(digests),
    )


def _refuse_bad(root: Path, bad: Sequence[BadFile], *, num_good: int, skip_bad: bool) -> None:
    if not num_good:
        raise BadFiles(f"{quoted(root)} holds no usable image; the table says why", bad)
    if bad and not skip_bad:
        raise BadFiles(
            f"{len(bad)} of {num_good + len(bad)} files in {quoted(root)} cannot be used; "
            "mend or remove them, or go on without them with --data.skip-bad true",
            bad,
        )


def _check_counts(listing: Listing, good: Mapping[str, ImageFacts], bad: Sequence[BadFile]) -> None:
    """Refuse a class with too few images in a split, above all in one to carve from."""
    layout = listing.layout
    for split, by_class in layout.items():
        is_carved = split == ALL or (split == "train" and len(layout) < 3)
        least = MIN_IMAGES_TO_SPLIT if is_carved else 1
        counts = {}
        for name, paths in by_class.items():
            counts[name] = sum(path in good for path in paths)
        short = [name for name in counts if counts[name] < least]
        if not short:
            continue
        short.sort(key=lambda name: counts[name])
        smallest = short[0]
        others = ""
        if len(short) > 1:
            others = f" (too few as well: {listed(short[1:])})"
        cure = "add images or remove the class"
        if is_carved:
            cure += f", or {listing.split_advice}"
        message = (
            f"class {quoted(smallest)} has {number_of(counts[smallest], 'usable image')} in split "
            f"{split} of {quoted(listing.root)}, expected at least {least}{others}; {cure}"
        )
        if bad:
            raise BadFiles(message, bad)
        raise UsageError(message)
