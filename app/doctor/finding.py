"""What a check says: all is well, nothing to check, a warning or an error, in one line."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was found, and for a warning or an error what to do about it."""

    level: Level
    text: str


def ok(text: str) -> Finding:
    """All is well."""
    return Finding("ok", text)


def skipped(text: str) -> Finding:
    """The check has nothing to say about this set-up; `text` is why."""
    return Finding("skipped", text)


def warning(text: str) -> Finding:
    """Training would work, but not as well as it could."""
    return Finding("warning", text)


def error(text: str) -> Finding:
    """Training would fail, or its result would mean nothing."""
    return Finding("error", text)
