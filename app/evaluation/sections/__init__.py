"""What the report shows of what the callbacks of a run found: one section a file, each from the run's own files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading of the report and what stands under it."""

    title: str
    text: str
    """Plain sentences: what was found, and what to do about it."""
    figures: tuple[str, ...] = ()
    """SVG elements, as `canvas.svg` makes them."""
    table: tuple[tuple[str, ...], ...] = ()
    """Rows of plain text, the heads first; a row's first cell names it, the others are figures."""


FINDERS: tuple[Callable[[Path], Section | None], ...] = ()
"""Each reads a run's folder, and returns None where what it needs was not recorded."""


def sections_of(folder: Path) -> list[Section]:
    """All sections that the files of a run allow."""
    return [section for find in FINDERS if (section := find(folder)) is not None]
