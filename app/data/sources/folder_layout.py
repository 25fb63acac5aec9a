"""Layouts of folders of images: which folders are splits, and which are classes.

Two layouts, told apart by the names of the top folders alone:

* all of them are split names: `train/CLASS/FILE`, where `test/` and one of `val/`, `valid/`,
  `validation/` may stand beside `train/`;
* otherwise each is a class: `CLASS/FILE`, one split called "all".

Folders inside a class folder, at any depth, belong to the class, as in Keras and PyTorch. Hidden
entries and the files that Windows and macOS leave behind are ignored. Inside a class folder
everything else must be an image. Beside the class folders an image is a mistake and reported, any
other file (a licence, a list) is ignored.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from epochal.app.characters import look_alike_key, printable
from epochal.app.data.file_inspection import BadFile, have_image_headers
from epochal.app.data.sources.folder_listing import list_entries, list_files, listed, quoted
from epochal.app.errors import UsageError

SPLIT_NAMES = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
ALL = "all"  # the one split of a folder without split folders


Layout = dict[str, dict[str, list[str]]]  # split -> class -> paths

_LOG = logging.getLogger(__name__)


def read_layout(
    root: Path, *, must_train: bool, may_be_empty: bool = False
) -> tuple[Layout, list[BadFile]]:
    """Return paths by split and class, and the images that lie outside any class folder.

    Args:
        root: the data set's folder.
        must_train: refuse splits without one to train on.
        may_be_empty: list class folders without files, too, instead of refusing them.
    """
    folders, strays = _folders_and_strays(root)
    split_of = {}
    for name in folders:
        split_of[name] = SPLIT_NAMES.get(name.lower(), "")
    if not all(split_of.values()):
        _refuse_splits_beside_classes(root, split_of)
        by_class = _read_classes(root, root, folders, may_be_empty=may_be_empty)
        return {ALL: by_class}, strays
    _check_splits(root, split_of, must_train=must_train)
    layout: Layout = {}
    for name, split in split_of.items():
        folder = root / name
        classes, more_strays = _folders_and_strays(folder)
        strays += more_strays
        layout[split] = _read_classes(root, folder, classes, may_be_empty=may_be_empty)
    return layout, strays


def _folders_and_strays(folder: Path) -> tuple[list[str], list[BadFile]]:
    folders, files = list_entries(folder)
    if not folders and not files:
        raise UsageError(f"{quoted(folder)} is empty; give each class a sub-folder with its images")
    strays = _stray_images(folder, files)
    if not folders:
        raise UsageError(
            f"{quoted(folder)} holds no class folders; give each class one, with its images"
        )
    return folders, strays


def _refuse_splits_beside_classes(root: Path, split_of: Mapping[str, str]) -> None:
    """Refuse folders called as splits that hold folders, beside others that are none."""
    others = [name for name, split in split_of.items() if not split]
    for name, split in split_of.items():
        if not split:
            continue
        folders, _ = list_entries(root / name)
        if folders:
            raise UsageError(
                f"{quoted(root / name)} holds the folder {quoted(folders[0])} as a split does, but "
                f"{listed(others)} beside it is none; move what is no split out of {quoted(root)} "
                "(train, val and test count as splits only if nothing else lies beside them)"
            )


def _check_splits(root: Path, split_of: Mapping[str, str], *, must_train: bool) -> None:
    names = listed(split_of)
    splits = list(split_of.values())
    if len(set(splits)) < len(splits):
        raise UsageError(
            f"{quoted(root)} holds one split twice ({names}); keep one folder for each"
        )
    if must_train and "train" not in splits:
        raise UsageError(f"{quoted(root)} holds {names} but no 'train' folder; add it")


def _read_classes(
    root: Path, parent: Path, names: Iterable[str], *, may_be_empty: bool
) -> dict[str, list[str]]:
    by_class = {}
    nested = []
    for name in names:
        folder = parent / name
        files, folders = list_files(folder, root)
        if not files and not may_be_empty:
            raise UsageError(f"class folder {quoted(folder)} is empty; add images or remove it")
        by_class[name] = files
        nested += folders
    if nested and len(by_class) > 1:
        above = Path(nested[0]).parent
        _LOG.info(
            f"{parent}: folders inside class folders belong to their class, as "
            f"{quoted(nested[0])} ({len(nested):,} in all); for classes of their own, give "
            f"--dataset {printable(above)}"
        )
    return by_class


def _stray_images(folder: Path, names: Iterable[str]) -> list[BadFile]:
    paths = [os.fspath(folder / name) for name in names]
    for path in paths:
        if not os.path.exists(path):
            raise UsageError(
                f"{quoted(path)} is a link that leads nowhere or in a circle; remove it"
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


def check_classes(root: Path, layout: Layout) -> tuple[str, ...]:
    """Return the classes, which every split must have from one list of at least two."""
    classes = layout.get(ALL) or layout["train"]
    for split, by_class in layout.items():
        _check_names(root, by_class)
        for name in by_class:
            if name not in classes:
                raise UsageError(
                    f"class {quoted(name)} is in the {split} split but not in 'train', which has "
                    f"{listed(classes)}; add it there or remove it"
                )
    if len(classes) < 2:
        (only,) = classes
        cure = "add one"
        folders, _ = list_entries(root / only)
        if layout.get(ALL) and folders:
            cure = f"give the folder inside it, --dataset {printable(root / only)}, or add one"
        raise UsageError(
            f"{quoted(root)} has 1 class ({listed(classes)}), expected at least 2; {cure}"
        )
    return tuple(classes)


def check_known(root: Path, layout: Layout, known: Sequence[str]) -> None:
    """Refuse a class that a trained network does not know."""
    for by_class in layout.values():
        for name in by_class:
            if name not in known:
                raise UsageError(
                    f"class {quoted(name)} in {quoted(root)} is none of the run's, which are "
                    f"{listed(known)}; rename or remove the folder"
                )


def _check_names(root: Path, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if printable(name) != name:
            raise UsageError(
                f"class folder {quoted(root / name)} has control or undecodable characters "
                "in its name; rename it"
            )
        key = look_alike_key(name)
        if key in seen:
            raise UsageError(
                f"classes {quoted(seen[key])} and {quoted(name)} in {quoted(root)} have "
                "the same name but for case, spaces or Unicode form; rename or merge them"
            )
        seen[key] = name
