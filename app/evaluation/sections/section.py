"""Sections of a report: a heading and what stands under it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading of the report and what stands under it."""

    title: str
    text: str
    """Plain sentences: the finding, and what to do about it."""
    figures: tuple[str, ...] = ()
    """SVG elements, as `figures.svg` makes them."""
    table: tuple[tuple[str, ...], ...] = ()
    """Rows of plain text, the heads first; a row's first cell names it, the others are figures."""
