"""Sections of a report: a heading and what stands under it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture with its caption."""

    uri: str
    """The file inside a URI, as `picture_uri` makes it."""
    name: str
    notes: tuple[str, ...] = ()
    """Short lines below the name."""


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
    pictures: tuple[Picture, ...] = ()
    """Pairs side by side, each twice as wide as high."""
