"""Records: JSON files with a schema version, read into frozen dataclasses."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, TypeVar

from epochal.app.errors import StorageError


class Record(Protocol):
    """A dataclass that is stored as a JSON object."""

    SCHEMA: ClassVar[int]
    """The newest schema that `from_dict` knows; a file without one is of an early version."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make the record.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        ...


# What reading a record from JSON of another shape raises: 1e400 is no whole number.
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
AnyRecord = TypeVar("AnyRecord", bound=Record)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error


def read_record(path: Path, record: type[AnyRecord]) -> AnyRecord:
    """Read a JSON object into a record.

    Raises:
        StorageError: the file is missing, damaged, or written by a later version of epochal.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        raise _damaged(path)
    written = values.get("schema", 0)
    if not isinstance(written, int):
        raise _damaged(path)
    if written > record.SCHEMA:
        raise StorageError(
            f"{path}: schema {written} is of a later version of epochal,"
            f" this one reads up to {record.SCHEMA}; upgrade epochal"
        )
    try:
        return record.from_dict(values)
    except MALFORMED as error:
        raise _damaged(path) from error


def read_records(path: Path, record: type[AnyRecord]) -> list[AnyRecord]:
    """Read a JSON list of objects into records.

    Raises:
        StorageError: the file is missing or damaged.
    """
    values = read_json(path)
    try:
        return [record.from_dict(entry) for entry in values]
    except MALFORMED as error:
        raise _damaged(path) from error


def read_digests(path: Path) -> dict[str, str]:
    """Read digests of files by path; none where the file is missing.

    Raises:
        StorageError: the file is damaged.
    """
    if not path.exists():
        return {}
    values = read_json(path)
    if not isinstance(values, dict):
        raise _damaged(path)
    return {path: str(digest) for path, digest in values.items()}


def number_or_none(value: Any) -> float | None:
    """Return a stored number as a float; None stays None."""
    if value is None:
        return None
    return float(value)


def whole_or_none(value: Any) -> int | None:
    """Return a stored whole number as an int; None stays None."""
    if value is None:
        return None
    return int(value)


def _damaged(path: Path) -> StorageError:
    return StorageError(f"{path} is missing or damaged; the run cannot be used without it")
