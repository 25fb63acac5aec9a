"""Findings: a check's answer in one line, with its level."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "skipped", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """A check's answer; the text of a warning or an error says what to do about it."""

    level: Level
    text: str


def ok(text: str) -> Finding:
    """Return the finding that all is well."""
    return Finding("ok", text)


def skipped(text: str) -> Finding:
    """Return the finding of a check that does not apply to this setup; `text` is the reason."""
    return Finding("skipped", text)


def warning(text: str) -> Finding:
    """Return the finding that training would work, but not as well as it could."""
    return Finding("warning", text)


def error(text: str) -> Finding:
    """Return the finding that training would fail, or that its result would mean nothing."""
    return Finding("error", text)


def shorten_list(names: list[str]) -> str:
    """Return the first three names and the number of the others."""
    text = ", ".join(names[:3])
    if len(names) > 3:
        text += f" and {len(names) - 3} more"
    return text
