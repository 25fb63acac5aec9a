"""Class lists: text files with one class a line, in the order of the labels."""

import os
from pathlib import Path

from epochal.app.config.given_files import read_given_file
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.errors import UsageError

_MOST_BYTES = 10_000_000


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Return the classes of a list.

    Raises:
        UsageError: it cannot be read, is no text, or names a class twice or not at all.
    """
    file = Path(os.path.expanduser(path))
    text = read_text(file, _MOST_BYTES)
    names = [line.strip() for line in text.splitlines()]
    while names and not names[-1]:
        names.pop()
    for number, name in enumerate(names, 1):
        if not name:
            raise UsageError(f"{quoted(file)}, line {number}: expected a class, got an empty line")
        first = names.index(name) + 1
        if first < number:
            raise UsageError(
                f"{quoted(file)}: class {quoted(name)} is in lines {first} and {number}; "
                "remove one of them"
            )
    if len(names) < 2:
        raise UsageError(f"{quoted(file)} lists {len(names)} class(es), expected at least 2")
    return tuple(names)


def read_text(file: Path, most_bytes: int) -> str:
    """Return the text of a file in UTF-8, without the mark that some programs begin it with.

    Raises:
        UsageError: it cannot be read, is too large or no text.
    """
    try:
        content = read_given_file(file, most_bytes)
    except OSError as error:
        raise UsageError(f"{quoted(file)} cannot be read: {error.strerror}; check it") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{quoted(file)} is no text in UTF-8 (byte {error.start:,}); save it as UTF-8"
        ) from error
