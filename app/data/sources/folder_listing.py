"""Listings of folders as people and their systems leave them, without hidden files and clutter."""

import os
from collections.abc import Iterable
from pathlib import Path

from epochal.app.characters import printable
from epochal.app.errors import UsageError

_CLUTTER = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})


def list_entries(folder: Path) -> tuple[list[str], list[str]]:
    """Return sorted names of sub-folders and of other entries, without hidden ones and clutter."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise UsageError(f"no folder {quoted(folder)}; check the path of the data set") from None
    except NotADirectoryError:
        raise UsageError(
            f"{quoted(folder)} is a file, expected a folder; name the one above it"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot read the folder {quoted(folder)}: {error.strerror}; check it"
        ) from None
    except ValueError as error:
        raise UsageError(f"cannot read the folder {quoted(folder)}: {error}; check it") from None
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


def list_files(folder: Path, root: Path) -> tuple[list[str], list[str]]:
    """Return the paths of all files in a folder, and of the folders inside it, at any depth.

    Args:
        folder: whose own files come first.
        root: of the data set, to which no folder may lead back.

    Raises:
        UsageError: a folder cannot be read, or leads back to one that it lies in.
    """
    found_files = []
    found_folders = []
    waiting: list[tuple[Path, tuple[str, ...]]] = [(folder, (os.path.realpath(root),))]
    while waiting:
        current, above = waiting.pop()
        real = os.path.realpath(current)
        if current != root and real in above:
            raise UsageError(f"{quoted(current)} is a link that leads in a circle; remove it")
        folders, files = list_entries(current)
        for name in files:
            found_files.append(os.fspath(current / name))
        for name in reversed(folders):
            waiting.append((current / name, (*above, real)))
        if current != folder:
            found_folders.append(os.fspath(current))
    return found_files, found_folders


def quoted(name: str | os.PathLike[str]) -> str:
    """Return a name in quotes, on one line."""
    return f"'{printable(name)}'"


def listed(names: Iterable[str], limit: int = 5) -> str:
    """Return the first names in quotes, and how many more there are."""
    in_quotes = [quoted(name) for name in names]
    text = ", ".join(in_quotes[:limit])
    if len(in_quotes) > limit:
        text += f" and {len(in_quotes) - limit} more"
    return text
