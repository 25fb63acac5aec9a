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

__all__ = ["MAKERS", "Section", "sections_of"]

_Maker = Callable[[Run], Section | None]
MAKERS: tuple[_Maker, ...] = (
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
    """Return all sections that the files of a run allow."""
    sections = []
    for make_section in MAKERS:
        section = make_section(run)
        if section is not None:
            sections.append(section)
    return sections
