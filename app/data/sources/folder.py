"""Reads a folder of images, one sub-folder a class, and refuses what would quietly spoil a training run.

Two layouts, told apart by the names of the top folders alone:

* all of them are split names: `train/CLASS/FILE`, where `test/` and one of `val/`, `valid/`, `validation/`
  may stand beside `train/`;
* otherwise each is a class: `CLASS/FILE`, one split called "all".

Hidden entries and the files that Windows and macOS leave behind are ignored. Inside a class folder everything
else must be an image. Beside the class folders an image is a mistake and reported, any other file (a licence,
a list) is ignored.
"""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from epochal.app.data.file_scan import (
    BadFile,
    BadFiles,
    ImageFacts,
    image_headers,
    inspect,
    printable,
)
from epochal.app.errors import UsageError

MIN_IMAGES_TO_SPLIT = 3  # one each for training, validation and test
SPLIT_NAMES = {"train": "train", "test": "test"} | dict.fromkeys(
    ("val", "valid", "validation"), "validation"
)

_CLUTTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})

_Layout = dict[str, dict[str, list[str]]]  # split -> class -> paths


@dataclass(frozen=True)
class FileList:
    """The images of one split: paths, and int32 `[len(paths)]` places in the class list."""

    paths: tuple[str, ...]
    labels: np.ndarray


@dataclass(frozen=True)
class FolderScan:
    """What a folder holds.

    `classes` is sorted and the same for all splits; `splits` has the keys "train", "validation", "test" as
    far as they exist, or "all". `channels` is 1 if every image is grey (its channels are equal), else 3.
    `native_size` is the side of the square that all images are, or None. `bad` are the files left out.
    """

    root: Path
    classes: tuple[str, ...]
    splits: Mapping[str, FileList]
    channels: int
    native_size: int | None
    bad: tuple[BadFile, ...]


def scan(root: Path, *, skip_bad: bool = False) -> FolderScan:
    """Lists and decodes every image under `root`.

    Args:
        root: the data set's folder.
        skip_bad: leave unusable files out instead of raising.

    Raises:
        BadFiles: some files are unusable and `skip_bad` is false, or too few are left.
        UsageError: the folder is missing, unreadable or not laid out as the head of this module says.
    """
    root = Path(root)
    layout, strays = _read_layout(root)
    classes = _class_list(root, layout)
    good, faulty = _inspect_all(layout)
    bad = (*strays, *faulty)
    _refuse_bad(root, bad, num_good=len(good), skip_bad=skip_bad)
    splits = {split: _file_list(classes, by_class, good) for split, by_class in layout.items()}
    _check_counts(root, layout, good, bad)
    sides = {side for facts in good.values() for side in (facts.height, facts.width)}
    return FolderScan(
        root=root,
        classes=classes,
        splits=splits,
        channels=1 if all(facts.grey for facts in good.values()) else 3,
        native_size=sides.pop() if len(sides) == 1 else None,
        bad=bad,
    )


def _inspect_all(layout: _Layout) -> tuple[dict[str, ImageFacts], list[BadFile]]:
    paths = [path for by_class in layout.values() for files in by_class.values() for path in files]
    results = inspect(paths)
    good = {
        path: found
        for path, found in zip(paths, results, strict=True)
        if isinstance(found, ImageFacts)
    }
    return good, [found for found in results if isinstance(found, BadFile)]


def _file_list(
    classes: Sequence[str], by_class: Mapping[str, list[str]], good: Mapping[str, ImageFacts]
) -> FileList:
    pairs = [(path, label) for label, name in enumerate(classes) for path in by_class.get(name, ())]
    pairs = [(path, label) for path, label in pairs if path in good]
    return FileList(
        tuple(path for path, _ in pairs), np.array([label for _, label in pairs], np.int32)
    )


def _read_layout(root: Path) -> tuple[_Layout, list[BadFile]]:
    """Paths by split and class, and the images that lie outside any class folder."""
    folders, strays = _folders_and_strays(root)
    split_of = {name: SPLIT_NAMES.get(name.lower(), "") for name in folders}
    if not all(split_of.values()):
        return {"all": _read_classes(root, folders)}, strays
    _check_splits(root, split_of)
    layout: _Layout = {}
    for name, split in split_of.items():
        classes, more = _folders_and_strays(root / name)
        strays += more
        layout[split] = _read_classes(root / name, classes)
    return layout, strays


def _folders_and_strays(folder: Path) -> tuple[list[str], list[BadFile]]:
    folders, files = _entries(folder)
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
    result = {}
    for name in names:
        folders, files = _entries(parent / name)
        if folders:
            raise UsageError(
                f"class folder {_quoted(parent / name)} holds the folder {_quoted(folders[0])}, expected "
                "images; move it (train, val and test count as splits only if nothing else lies beside them)"
            )
        if not files:
            raise UsageError(
                f"class folder {_quoted(parent / name)} is empty; add images or remove it"
            )
        result[name] = [os.fspath(parent / name / file) for file in files]
    return result


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the sub-folders and of the other entries, sorted, without hidden ones and clutter."""
    try:
        names = sorted(name for name in os.listdir(folder) if not _ignored(name))
    except FileNotFoundError:
        raise UsageError(f"no folder {_quoted(folder)}; check the path of the data set") from None
    except NotADirectoryError:
        raise UsageError(
            f"{_quoted(folder)} is a file, expected a folder; name the one above it"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read the folder {_quoted(folder)}: {reason}; check it") from None
    folders = [name for name in names if os.path.isdir(folder / name)]
    return folders, sorted(set(names).difference(folders))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _CLUTTER


def _stray_images(folder: Path, names: Iterable[str]) -> list[BadFile]:
    paths = [os.fspath(folder / name) for name in names]
    broken = next((path for path in paths if not os.path.exists(path)), None)
    if broken is not None:
        raise UsageError(
            f"{_quoted(broken)} is a link that leads nowhere or in a circle; remove it"
        )
    images = [path for path, is_image in zip(paths, image_headers(paths), strict=True) if is_image]
    return [BadFile(path, "lies beside the class folders, not in one") for path in images]


def _class_list(root: Path, layout: _Layout) -> tuple[str, ...]:
    train = layout["all" if "all" in layout else "train"]
    for split, by_class in layout.items():
        _check_names(root, by_class)
        unknown = next((name for name in by_class if name not in train), None)
        if unknown is not None:
            raise UsageError(
                f"class {_quoted(unknown)} is in the {split} split but not in 'train', which has "
                f"{_listed(train)}; add it there or remove it"
            )
    if len(train) < 2:
        raise UsageError(
            f"{_quoted(root)} has 1 class ({_listed(train)}), expected at least 2; add one"
        )
    return tuple(train)


def _check_names(root: Path, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise UsageError(
                f"class folder {_quoted(root / name)} has control or undecodable characters in its name; rename it"
            )
        # NFC once more, since folding can take composed letters apart
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()
        if key in seen:
            raise UsageError(
                f"classes {_quoted(seen[key])} and {_quoted(name)} in {_quoted(root)} have the same name but "
                "for case, spaces or Unicode form; rename or merge them"
            )
        seen[key] = name


def _refuse_bad(root: Path, bad: Sequence[BadFile], *, num_good: int, skip_bad: bool) -> None:
    if not num_good:
        raise BadFiles(f"{_quoted(root)} holds no usable image; the table says why", bad)
    if bad and not skip_bad:
        raise BadFiles(
            f"{len(bad)} of {num_good + len(bad)} files in {_quoted(root)} cannot be used; mend or remove "
            "them, or go on without them with --data.skip-bad true",
            bad,
        )


def _check_counts(
    root: Path, layout: _Layout, good: Mapping[str, ImageFacts], bad: Sequence[BadFile]
) -> None:
    carved = "all" if "all" in layout else "train" if len(layout) < 3 else None
    for split, by_class in layout.items():
        least = MIN_IMAGES_TO_SPLIT if split == carved else 1
        counts = {name: sum(path in good for path in files) for name, files in by_class.items()}
        name, count = min(counts.items(), key=lambda item: item[1], default=("", least))
        if count < least:
            message = (
                f"class {_quoted(name)} has {count} usable images in split {split} of {_quoted(root)}, "
                f"expected at least {least}; add images or remove the class"
            )
            raise BadFiles(message, bad) if bad else UsageError(message)


def _quoted(name: str | os.PathLike[str]) -> str:
    return f"'{printable(name)}'"


def _listed(names: Iterable[str], limit: int = 5) -> str:
    shown = [_quoted(name) for name in names]
    return ", ".join(shown[:limit]) + (
        f" and {len(shown) - limit} more" if len(shown) > limit else ""
    )
