"""Layouts of folders of images: which folders are splits, and which are classes.

Two layouts, told apart by the names of the top folders alone:

* all of them are split names: `train/CLASS/FILE`, where `test/` and one of `val/`, `valid/`,
  `validation/` may stand beside `train/`;
* otherwise each is a class: `CLASS/FILE`, one split called "all".

Folders inside a class folder, at any depth, belong to the class, as in Keras and PyTorch, unless
they are to be classes of their own, called by their path (`dog/young`), or to be refused. Hidden
entries and the files that Windows and macOS leave behind are ignored. Inside a class folder
everything else must be an image. Beside the class folders an image is a mistake and reported, any
other file (a licence, a list) is ignored.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epochal.app.characters import printable
from epochal.app.data.file_inspection import BadFile, have_image_headers
from epochal.app.data.sources.folder_listing import list_entries, list_files, listed, quoted
from epochal.app.data.sources.image_list import Layout, check_class_names, check_split_classes
from epochal.app.data.sources.split_names import ALL, SPLIT_NAMES
from epochal.app.errors import UsageError

Nested = Literal["joined", "classes", "refused"]


@dataclass(frozen=True)
class FolderContent:
    """Content of a folder of images.

    Attributes:
        layout: paths by split and class.
        strays: images that lie outside any class folder.
        joined: folders inside class folders, whose images were joined to the class.
    """

    layout: Layout
    strays: tuple[BadFile, ...]
    joined: tuple[str, ...]


def read_layout(
    root: Path, *, nested: Nested, must_train: bool, may_be_empty: bool = False
) -> FolderContent:
    """List a folder of images.

    Args:
        root: the folder.
        nested: what folders inside class folders are.
        must_train: there must be images to train on.
        may_be_empty: class folders without files are listed, too, instead of refused.

    Raises:
        UsageError: it is missing, unreadable or laid out otherwise.
    """
    joined: list[str] = []
    folders, strays = _folders_and_strays(root)
    split_of = {}
    for name in folders:
        split_of[name] = SPLIT_NAMES.get(name.lower(), "")
    if not all(split_of.values()):
        _refuse_splits_beside_classes(root, split_of)
        layout = {ALL: _read_classes(root, root, folders, nested, joined)}
        if not may_be_empty:
            _refuse_empty(root, layout[ALL])
        return FolderContent(layout, tuple(strays), tuple(joined))
    _check_splits(root, split_of, must_train=must_train)
    layout = {}
    for name, split in split_of.items():
        folder = root / name
        classes, more_strays = _folders_and_strays(folder)
        strays += more_strays
        layout[split] = _read_classes(root, folder, classes, nested, joined)
        if not may_be_empty:
            _refuse_empty(folder, layout[split])
    return FolderContent(layout, tuple(strays), tuple(joined))


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
    root: Path, parent: Path, names: Iterable[str], nested: Nested, joined: list[str]
) -> dict[str, list[str]]:
    """Return paths by class; folders that are joined to their class are added to `joined`."""
    by_class: dict[str, list[str]] = {}
    inside: list[str] = []
    for name in names:
        folder = parent / name
        files, folders = list_files(folder, root)
        inside += folders
        if nested == "classes" and files:
            for path in files:
                own_class = os.path.dirname(os.path.relpath(path, parent))
                by_class.setdefault(own_class, []).append(path)
        else:
            by_class[name] = files
    if inside and nested == "refused":
        raise UsageError(
            f"{quoted(inside[0])} lies inside a class folder ({len(inside):,} in all); move it, or "
            "give --data.nested joined (its images belong to the class) or classes (it is one)"
        )
    if nested == "joined" and len(by_class) > 1:
        joined += inside
    return dict(sorted(by_class.items()))


def _refuse_empty(parent: Path, by_class: Mapping[str, list[str]]) -> None:
    for name, files in by_class.items():
        if not files:
            raise UsageError(
                f"class folder {quoted(parent / name)} is empty; add images or remove it"
            )


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
    for by_class in layout.values():
        check_class_names(root, by_class, "class folder")
    classes = check_split_classes(layout)
    if len(classes) < 2:
        (only,) = classes
        cure = "add one"
        folders, _ = list_entries(root / only)
        if layout.get(ALL) and folders:
            cure = f"give the folder inside it, --dataset {printable(root / only)}, or add one"
        raise UsageError(
            f"{quoted(root)} has 1 class ({listed(classes)}), expected at least 2; {cure}"
        )
    return classes
