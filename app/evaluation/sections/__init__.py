"""Sections of the report about what the callbacks of a run recorded: one section a file."""

from __future__ import annotations

from collections.abc import Callable

from epochal.app.evaluation.sections.activations import activations
from epochal.app.evaluation.sections.feature_reuse import feature_reuse
from epochal.app.evaluation.sections.gradient_flow import gradient_flow
from epochal.app.evaluation.sections.histograms import histograms
from epochal.app.evaluation.sections.losses import losses
from epochal.app.evaluation.sections.schedule import schedule
from epochal.app.evaluation.sections.section import Section
from epochal.app.evaluation.sections.timing import timing
from epochal.app.store.run import Run

__all__ = ["FINDERS", "Section", "sections_of"]

_Finder = Callable[[Run], Section | None]
FINDERS: tuple[_Finder, ...] = (
    losses,
    schedule,
    gradient_flow,
    activations,
    histograms,
    feature_reuse,
    timing,
)
"""Each reads a run, and returns None where what it needs was not recorded."""


def sections_of(run: Run) -> list[Section]:
    """All sections that the files of a run allow."""
    return [section for find in FINDERS if (section := find(run)) is not None]
