"""Sections of the report about what the callbacks of a run recorded: one section a file."""

from __future__ import annotations

import logging
from collections.abc import Callable

from epochal.app.errors import StorageError
from epochal.app.evaluation.sections.activations import activations
from epochal.app.evaluation.sections.augmented import augmented
from epochal.app.evaluation.sections.feature_reuse import feature_reuse
from epochal.app.evaluation.sections.gradient_flow import gradient_flow
from epochal.app.evaluation.sections.histograms import histograms
from epochal.app.evaluation.sections.losses import losses
from epochal.app.evaluation.sections.schedule import schedule
from epochal.app.evaluation.sections.section import Section
from epochal.app.evaluation.sections.timing import timing
from epochal.app.store.record import MALFORMED
from epochal.app.store.run import Run

__all__ = ["MAKERS", "Section", "sections_of"]

_LOG = logging.getLogger(__name__)
_Maker = Callable[[Run], Section | None]
MAKERS: tuple[_Maker, ...] = (
    augmented,
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
        try:
            section = make_section(run)
        except (StorageError, RecursionError, *MALFORMED) as error:
            # What the run was trained for does not hang on a record of its course.
            _LOG.warning(
                "%s: the report lacks %s, whose record is damaged (%s)",
                run.folder,
                make_section.__name__.replace("_", " "),
                " ".join(str(error).split())[:80],
            )
            continue
        if section is not None:
            sections.append(section)
    return sections
