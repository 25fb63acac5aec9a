"""Folders of images, one sub-folder a class: read, or refused where training would be spoilt.

Two layouts, told apart by the names of the top folders alone:

* all of them are split names: `train/CLASS/FILE`, where `test/` and one of `val/`, `valid/`,
  `validation/` may stand beside `train/`;
* otherwise each is a class: `CLASS/FILE`, one split called "all".

Hidden entries and the files that Windows and macOS leave behind are ignored. Inside a class folder
everything else must be an image. Beside the class folders an image is a mistake and reported, any
other file (a licence, a list) is ignored.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.characters import look_alike_key, printable
from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset
from epochal.app.data.file_inspection import (
    BadFile,
    BadFiles,
    ImageFacts,
    have_image_headers,
    inspect_files,
)
from epochal.app.data.sources.shared import choose_shape, make_split
from epochal.app.errors import UsageError

MIN_IMAGES_TO_SPLIT = 3  # one each for training, validation and test
SPLIT_NAMES = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
ALL = "all"  # the one split of a folder without split folders

_CLUTTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})

_Layout = dict[str, dict[str, list[str]]]  # split -> class -> paths


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


def scan(root: Path, *, skip_bad: bool = False) -> FolderScan:
    """List and decode every image under `root`.

    Args:
        root: the data set's folder.
        skip_bad: leave unusable files out instead of raising.

    Raises:
        BadFiles: some files are unusable and `skip_bad` is false, or too few are left.
        UsageError: the folder is missing, unreadable or not laid out as the head of this module
            says.
    """
    root = Path(root)
    layout, strays = _read_layout(root)
    classes = _check_classes(root, layout)
    good, faulty = _inspect_all(layout)
    bad = (*strays, *faulty)
    _refuse_bad(
        root,
        bad,
        num_good=len(good),
        skip_bad=skip_bad,
    )
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
    digests = {}
    beginning = os.path.join(folder.root, "")
    for name, files in folder.splits.items():
        splits[name] = make_split(
            _loader(files),
            files.labels,
            shape,
            config.data.cache_gib,
        )
        for path, digest in zip(files.paths, files.digests, strict=True):
            digests[path.removeprefix(beginning)] = digest
    skipped = tuple((str(file.path), file.reason) for file in folder.bad)
    return RawDataset(
        splits=splits,
        classes=folder.classes,
        shape=shape,
        digests=digests,
        skipped=skipped,
    )


def _loader(files: FileList) -> Callable[[tf.Tensor], tf.Tensor]:
    paths = tf.constant(files.paths)
    return lambda index: tf.io.read_file(paths[index])


def _inspect_all(layout: _Layout) -> tuple[dict[str, ImageFacts], list[BadFile]]:
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


def _read_layout(root: Path) -> tuple[_Layout, list[BadFile]]:
    """Return paths by split and class, and the images that lie outside any class folder."""
    folders, strays = _folders_and_strays(root)
    split_of = {}
    for name in folders:
        split_of[name] = SPLIT_NAMES.get(name.lower(), "")
    if not all(split_of.values()):
        return {ALL: _read_classes(root, folders)}, strays
    _check_splits(root, split_of)
    layout: _Layout = {}
    for name, split in split_of.items():
        folder = root / name
        classes, more_strays = _folders_and_strays(folder)
        strays += more_strays
        layout[split] = _read_classes(folder, classes)
    return layout, strays


def _folders_and_strays(folder: Path) -> tuple[list[str], list[BadFile]]:
    folders, files = _list_entries(folder)
    if not folders and not files:
        raise UsageError(
            f"{_quoted(folder)} is empty; give each class a sub-folder with its images"
        )
    strays = _stray_images(folder, files)
    if not folders:
        raise UsageError(
            f"{_quoted(folder)} holds no class folders; give each class one, with its images"
        )
    return folders, strays


def _check_splits(root: Path, split_of: Mapping[str, str]) -> None:
    names = _listed(split_of)
    splits = list(split_of.values())
    if len(set(splits)) < len(splits):
        raise UsageError(
            f"{_quoted(root)} holds one split twice ({names}); keep one folder for each"
        )
    if "train" not in splits:
        raise UsageError(f"{_quoted(root)} holds {names} but no 'train' folder; add it")


def _read_classes(parent: Path, names: Iterable[str]) -> dict[str, list[str]]:
    by_class = {}
    for name in names:
        folder = parent / name
        folders, files = _list_entries(folder)
        if folders:
            raise UsageError(
                f"class folder {_quoted(folder)} holds the folder {_quoted(folders[0])}, expected "
                "images; move it (train, val and test count as splits only if nothing else lies "
                "beside them)"
            )
        if not files:
            raise UsageError(f"class folder {_quoted(folder)} is empty; add images or remove it")
        by_class[name] = [os.fspath(folder / file) for file in files]
    return by_class


def _list_entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return sorted names of sub-folders and of other entries, without hidden ones and clutter."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise UsageError(f"no folder {_quoted(folder)}; check the path of the data set") from None
    except NotADirectoryError:
        raise UsageError(
            f"{_quoted(folder)} is a file, expected a folder; name the one above it"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot read the folder {_quoted(folder)}: {error.strerror}; check it"
        ) from None
    except ValueError as error:
        raise UsageError(f"cannot read the folder {_quoted(folder)}: {error}; check it") from None
    folders = []
    files = []
    for name in names:
        if name.startswith(".") or name.lower() in _CLUTTER:
            continue
        if os.path.isdir(folder / name):
            folders.append(name)
        else:
            files.append(name)
    return folders, files


def _stray_images(folder: Path, names: Iterable[str]) -> list[BadFile]:
    paths = [os.fspath(folder / name) for name in names]
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(
                f"{_quoted(path)} is a link that leads nowhere or in a circle; remove it"
            )
    strays = []
    for path, is_image in zip(
        paths,
        have_image_headers(paths),
        strict=True,
    ):
        if is_image:
            strays.append(BadFile(path, "lies beside the class folders, not in one"))
    return strays


def _check_classes(root: Path, layout: _Layout) -> tuple[str, ...]:
    """Return the classes, which every split must have from one list of at least two."""
    classes = layout.get(ALL) or layout["train"]
    for split, by_class in layout.items():
        _check_names(root, by_class)
        for name in by_class:
            if name not in classes:
                raise UsageError(
                    f"class {_quoted(name)} is in the {split} split but not in 'train', which has "
                    f"{_listed(classes)}; add it there or remove it"
                )
    if len(classes) < 2:
        raise UsageError(
            f"{_quoted(root)} has 1 class ({_listed(classes)}), expected at least 2; add one"
        )
    return tuple(classes)


def _check_names(root: Path, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise UsageError(
                f"class folder {_quoted(root / name)} has control or undecodable characters "
                "in its name; rename it"
            )
        key = look_alike_key(name)
        if key in seen:
            raise UsageError(
                f"classes {_quoted(seen[key])} and {_quoted(name)} in {_quoted(root)} have "
                "the same name but for case, spaces or Unicode form; rename or merge them"
            )
        seen[key] = name


def _refuse_bad(root: Path, bad: Sequence[BadFile], *, num_good: int, skip_bad: bool) -> None:
    if not num_good:
        raise BadFiles(f"{_quoted(root)} holds no usable image; the table says why", bad)
    if bad and not skip_bad:
        raise BadFiles(
            f"{len(bad)} of {num_good + len(bad)} files in {_quoted(root)} cannot be used; "
            "mend or remove them, or go on without them with --data.skip-bad true",
            bad,
        )


def _check_counts(
    root: Path, layout: _Layout, good: Mapping[str, ImageFacts], bad: Sequence[BadFile]
) -> None:
    """Refuse a class with too few images in a split, above all in one to carve from."""
    for split, by_class in layout.items():
        is_carved = split == ALL or (split == "train" and len(layout) < 3)
        least = MIN_IMAGES_TO_SPLIT if is_carved else 1
        counts = {}
        for name, paths in by_class.items():
            counts[name] = sum(path in good for path in paths)
        smallest = min(
            counts,
            key=lambda name: counts[name],
            default=None,
        )
        if smallest is None or counts[smallest] >= least:
            continue
        message = (
            f"class {_quoted(smallest)} has {counts[smallest]} usable images in split {split} "
            f"of {_quoted(root)}, expected at least {least}; add images or remove the class"
        )
        if bad:
            raise BadFiles(message, bad)
        raise UsageError(message)


def _quoted(name: str | os.PathLike[str]) -> str:
    return f"'{printable(name)}'"


def _listed(names: Iterable[str], limit: int = 5) -> str:
    quoted = [_quoted(name) for name in names]
    text = ", ".join(quoted[:limit])
    if len(quoted) > limit:
        text += f" and {len(quoted) - limit} more"
    return text
