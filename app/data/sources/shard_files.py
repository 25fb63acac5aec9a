"""Shards: files of many images, found by a folder, by a pattern, or named one by one."""

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from epochal.app.data.sources.folder_listing import list_entries, listed, quoted
from epochal.app.data.sources.split_names import ALL, SPLIT_NAMES
from epochal.app.errors import UsageError

ShardKind = Literal["tar", "tfrecord"]

_MOST_SHARDS = 100_000  # of a pattern
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
# As TF-Slim and TFDS call them: train-00000-of-00128, mnist-train.tfrecord-00000-of-00001.
_NUMBERED = re.compile(r"-[0-9]{5,9}-of-([0-9]{5,9})$")


@dataclass(frozen=True)
class Shards:
    """Files of many images.

    Attributes:
        kind: of the files.
        root: the folder or file that was given, or the folder of a pattern.
        files: paths by split, in order.
    """

    kind: ShardKind
    root: Path
    files: dict[str, list[Path]]


def is_pattern(dataset: str) -> bool:
    """Return whether a name is a pattern of shards: `train-{000..009}.tar`, `{train,val}.tar`."""
    return bool(_BRACES.search(dataset)) and kind_of(dataset) is not None


def kind_of(name: str) -> ShardKind | None:
    """Return the kind of shard that a file's name tells."""
    lower = os.path.basename(name).lower()
    if lower.endswith(".tar"):
        return "tar"
    if lower.endswith((".tfrecord", ".tfrecords")) or _NUMBERED.search(lower):
        return "tfrecord"
    return None


def find_shards(dataset: str) -> Shards | None:
    """Find the shards that a name means; None where it means something else.

    In a folder they lie side by side or in the folders `train`, `val` and `test`, and nothing is a
    class folder. Splits are told by these folders, else by words in the files' names.

    Raises:
        UsageError: some are missing, of another kind, or of no split while others are of one.
    """
    path = Path(os.path.expanduser(dataset))
    if path.is_dir():
        return _shards_in(path)
    if path.is_file():
        kind = kind_of(path.name)
        return None if kind is None else Shards(kind, path, _by_split(path.parent, [path]))
    if not is_pattern(dataset):
        return None
    files = [Path(name) for name in expand(os.path.expanduser(dataset))]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UsageError(
            f"{dataset}: {len(missing):,} of {len(files):,} files are missing, as "
            f"{quoted(missing[0])}; restore them or give another range"
        )
    root = Path(os.path.commonpath([file.parent for file in files]))
    return Shards(_only_kind(root, files), root, _by_split(root, files))


def expand(pattern: str) -> list[str]:
    """Return the names that a pattern with braces means, in order.

    `{000..009}` counts, as wide as its beginning; `{a,b}` lists.

    Raises:
        UsageError: a range runs backwards, or there are too many names.
    """
    pieces: list[list[str]] = []
    total = 1
    for place, piece in enumerate(_BRACES.split(pattern)):
        choices = [piece]
        if place % 2:
            choices = _choices(pattern, piece)
        pieces.append(choices)
        total *= len(choices)
        if total > _MOST_SHARDS:
            raise _too_many(pattern)
    return ["".join(words) for words in itertools.product(*pieces)]


def _choices(pattern: str, braces: str) -> list[str]:
    bounds = _RANGE.fullmatch(braces)
    if bounds is None:
        return braces.split(",")
    first = int(bounds[1])
    last = int(bounds[2])
    if last < first:
        raise UsageError(f"{pattern}: the range {braces} runs backwards; give the lower end first")
    if last - first >= _MOST_SHARDS:
        raise _too_many(pattern)
    width = len(bounds[1])
    return [f"{number:0{width}}" for number in range(first, last + 1)]


def _too_many(pattern: str) -> UsageError:
    return UsageError(f"{pattern}: more than {_MOST_SHARDS:,} files; give a shorter range")


def _shards_in(folder: Path) -> Shards | None:
    if (folder / "dataset_info.json").exists():
        return None  # prepared by TFDS
    folders, names = list_entries(folder)
    if not folders:
        files = [folder / name for name in names if kind_of(name)]
        if not files:
            return None
        _check_numbered(folder, files)
        return Shards(_only_kind(folder, files), folder, _by_split(folder, files))
    by_split: dict[str, list[Path]] = {}
    for name in folders:
        split = SPLIT_NAMES.get(name.lower())
        if split is None or split in by_split:
            return None
        inner_folders, inner_names = list_entries(folder / name)
        files = [folder / name / inner for inner in inner_names if kind_of(inner)]
        if inner_folders or not files:
            return None
        _check_numbered(folder / name, files)
        by_split[split] = files
    every_file = itertools.chain.from_iterable(by_split.values())
    return Shards(_only_kind(folder, every_file), folder, by_split)


def _check_numbered(folder: Path, files: Iterable[Path]) -> None:
    """Refuse a set of files with numbers (`-00003-of-00010`) in which some are missing."""
    sets: dict[tuple[str, str], int] = {}
    for file in files:
        numbered = _NUMBERED.search(file.name)
        if numbered is not None:
            key = (file.name[: numbered.start()], numbered[1])
            sets[key] = sets.get(key, 0) + 1
    for (beginning, total), count in sets.items():
        if count != int(total):
            raise UsageError(
                f"{quoted(folder)} has {count:,} of the {int(total):,} files "
                f"{quoted(f'{beginning}-*-of-{total}')}; restore the others"
            )


def _only_kind(root: Path, files: Iterable[Path]) -> ShardKind:
    kinds = {kind_of(file.name) for file in files}
    if kinds == {"tar"}:
        return "tar"
    if kinds == {"tfrecord"}:
        return "tfrecord"
    raise UsageError(
        f"{quoted(root)} holds both tar shards and TFRecord files; move one kind elsewhere"
    )


def _by_split(root: Path, files: list[Path]) -> dict[str, list[Path]]:
    """Return files by the split that their names under `root` tell."""
    by_split: dict[str, list[Path]] = {}
    without = []
    for file in files:
        words = re.split("[-_./]", os.path.relpath(file, root).lower())
        splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
        if splits:
            by_split.setdefault(splits[0], []).append(file)
        else:
            without.append(file)
    if not by_split:
        return {ALL: files}
    if without:
        raise UsageError(
            f"{quoted(root)}: {listed(file.name for file in without)} names no split, as "
            f"{quoted(next(iter(by_split.values()))[0].name)} does; give all of them a split's "
            "name (train, val, test) or none"
        )
    return by_split
