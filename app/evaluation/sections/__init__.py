"""What the report shows of what the callbacks of a run found: one section a file, each from the run's own files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.evaluation.sections.activations import activations
from app.evaluation.sections.gradient_flow import gradient_flow
from app.evaluation.sections.section import Section

__all__ = ["FINDERS", "Section", "sections_of"]


FINDERS: tuple[Callable[[Path], Section | None], ...] = (gradient_flow, activations)
"""Each reads a run's folder, and returns None where what it needs was not recorded."""


def sections_of(folder: Path) -> list[Section]:
    """All sections that the files of a run allow."""
    return [section for find in FINDERS if (section := find(folder)) is not None]
