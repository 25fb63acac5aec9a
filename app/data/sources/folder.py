"""Folders of images, one sub-folder a class: read, or refused where training would be spoilt."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset, Split
from epochal.app.data.file_inspection import (
    BadFile,
    BadFiles,
    ImageFacts,
    inspect_files,
)
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources.folder_layout import (
    ALL,
    Layout,
    check_classes,
    check_known,
    read_layout,
)
from epochal.app.data.sources.folder_listing import listed, quoted
from epochal.app.data.sources.shared import choose_shape, make_split
from epochal.app.errors import UsageError
from epochal.app.units import number_of

MIN_IMAGES_TO_SPLIT = 3  # one each for training, validation and test


@dataclass(frozen=True)
class FileList:
    """The images of one split.

    Attributes:
        paths: of the files.
        labels: int32 `[len(paths)]`, places in the class list.
        digests: of the files' content.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[str, ...]


@dataclass(frozen=True)
class FolderScan:
    """Content of a folder of images.

    Attributes:
        root: the folder.
        classes: sorted, the same for all splits.
        splits: "train", "validation" and "test" as far as they exist, or "all".
        channels: 1 if every image is grey (its channels are equal), else 3.
        native_size: side of the square that all images are, or None.
        bad: files left out.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, FileList]
    channels: int
    native_size: int | None
    bad: tuple[BadFile, ...]


def scan(root: Path, *, skip_bad: bool = False, known: Sequence[str] | None = None) -> FolderScan:
    """List and decode every image under `root`.

    Args:
        root: the data set's folder.
        skip_bad: leave unusable files out instead of raising.
        known: the classes of a trained network, of which the folder may hold any; None where it is
            to be trained on, and must have what training needs.

    Raises:
        BadFiles: some files are unusable and `skip_bad` is false, or too few are left.
        UsageError: the folder is missing, unreadable or not laid out as `folder_layout` says.
    """
    root = Path(root)
    layout, strays = read_layout(root, must_train=known is None)
    if known is None:
        classes = check_classes(root, layout)
    else:
        classes = tuple(known)
        check_known(root, layout, classes)
    good, faulty = _inspect_all(layout)
    bad = (*strays, *faulty)
    _refuse_bad(
        root,
        bad,
        num_good=len(good),
        skip_bad=skip_bad,
    )
    if known is None:
        _check_counts(root, layout, good, bad)
    splits = {}
    for split, by_class in layout.items():
        splits[split] = _list_files(classes, by_class, good)
    sides = set()
    channels = 1
    for facts in good.values():
        sides |= {facts.height, facts.width}
        if not facts.grey:
            channels = 3
    native_size = None
    if len(sides) == 1:
        (native_size,) = sides
    return FolderScan(
        root=root,
        classes=classes,
        splits=splits,
        channels=channels,
        native_size=native_size,
        bad=bad,
    )


def read(config: Config, scan: Callable[..., FolderScan] = scan) -> RawDataset:
    """Read the folder of images that a configuration names.

    Args:
        config: of the run.
        scan: lists and decodes the images; a test may let files vanish after it.

    Raises:
        UsageError, BadFiles: as `scan`.
    """
    folder = scan(Path(os.path.expanduser(config.dataset)), skip_bad=config.data.skip_bad)
    shape = choose_shape(config, folder.native_size, folder.channels)
    splits = {}
    digests: dict[str, str] = {}
    names = {}
    beginning = os.path.join(folder.root, "")
    for name, files in folder.splits.items():
        splits[name] = make_split(
            _loader(files),
            files.labels,
            shape,
            config.data.cache_gib,
        )
        names[name] = tuple(path.removeprefix(beginning) for path in files.paths)
        digests.update(zip(names[name], files.digests, strict=True))
    skipped = tuple((str(file.path), file.reason) for file in folder.bad)
    return RawDataset(
        splits=splits,
        classes=folder.classes,
        shape=shape,
        digests=digests,
        skipped=skipped,
        names=names,
    )


def read_splits(
    root: Path, classes: Sequence[str], shape: ImageShape, cache_gib: float
) -> dict[str, Split]:
    """Read a folder of images for a trained network with these classes and sizes.

    Raises:
        UsageError, BadFiles: as `scan`; or a class is none of the network's.
    """
    folder = scan(root, known=classes)
    splits = {}
    for name, files in folder.splits.items():
        if files.paths:
            splits[name] = make_split(
                _loader(files),
                files.labels,
                shape,
                cache_gib,
            )
    return splits


def _loader(files: FileList) -> Callable[[tf.Tensor], tf.Tensor]:
    paths = tf.constant(files.paths)
    return lambda index: tf.io.read_file(paths[index])


def _inspect_all(layout: Layout) -> tuple[dict[str, ImageFacts], list[BadFile]]:
    paths = []
    for by_class in layout.values():
        for files in by_class.values():
            paths.extend(files)
    good = {}
    bad = []
    for path, result in zip(paths, inspect_files(paths), strict=True):
        if isinstance(result, BadFile):
            bad.append(result)
        else:
            good[path] = result
    return good, bad


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


def _check_counts(
    root: Path, layout: Layout, good: Mapping[str, ImageFacts], bad: Sequence[BadFile]
) -> None:
    """Refuse a class with too few images in a split, above all in one to carve from."""
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
            cure += ", or give folders train, val and test, where one image does"
        message = (
            f"class {quoted(smallest)} has {number_of(counts[smallest], 'usable image')} in split "
            f"{split} of {quoted(root)}, expected at least {least}{others}; {cure}"
        )
        if bad:
            raise BadFiles(message, bad)
        raise UsageError(message)
