"""A time for the whole command: whether an epoch fits into it, and the callback that keeps it."""

import math
import time
from typing import Any

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.training.probes.probe_steps import seconds_a_step
from epochal.app.training.run.setup import Setup

_FORWARD = 0.4  # of a training step is what evaluating the same images takes, at most
# Seconds, and times of building the model, which tells machine and depth; benchmarks/budget.py shows how they hold.
_PAGES = 4.5, 9.0  # of pictures, the report and the end of the process
_EXPORT = 8.0, 27.0  # of an export: a process of its own, graphs for every way in
_ASKED = (
    7  # times an export answers the test images: twice in this process, then through each way in
)
_FILES = (
    7e-4,
    8e-8,
)  # seconds for each test image, and each byte of one, which it is asked about as a PNG file, too


def refuse_hopeless(config: Config, began: float) -> None:
    """Refuses a budget that is spent already, before any data is read or any step is measured."""
    spent = time.monotonic() - began
    if config.budget_seconds is not None and spent + _PAGES[0] > config.budget_seconds:
        raise UsageError(
            f"budget: {config.budget} is too little for one epoch: {spent:.0f} s went by already, and the report takes "
            f"{_PAGES[0]:.0f} s; give more"
        )


def budget_for(setup: Setup, began: float, *, fresh: bool, export: bool = False) -> Any:
    """The callback that ends training in time, or None where epochs decide; `began` is the command's start.

    Before a fresh run it trains some steps to know what an epoch takes, and undoes them; a run that goes on has that in
    its checkpoint. With `export` it keeps time for one.

    Raises:
        UsageError: when not even one epoch fits.
    """
    seconds = setup.config.budget_seconds
    dataset = setup.dataset
    if seconds is None:
        return None
    if fresh:
        refuse_hopeless(setup.config, began)
    step = seconds_a_step(setup) if fresh else 0.0
    validation = _FORWARD * step * len(dataset.validation) / setup.config.batch_size
    spent = time.monotonic() - began
    epoch = step * setup.batches.steps
    fixed = _seconds_after(setup, export=export)
    passes = (1 + (_ASKED if export else 0)) * len(dataset.test) / len(dataset.validation)

    def after(validation: float) -> float:
        return fixed + validation * (2 + passes)

    needed = spent + epoch + after(validation)
    if fresh and needed > seconds:
        raise UsageError(
            f"budget: {setup.config.budget} is too little for one epoch: {spent:.0f} s until now, about {epoch:.0f} s "
            f"for it and {after(validation):.0f} s of evaluation{' and export' if export else ''}; "
            f"give at least {math.ceil(1.1 * needed)}s"
        )
    return callbacks.Budget(seconds, after=after, validation=validation, spent=spent)


def _seconds_after(setup: Setup, *, export: bool) -> float:
    """What comes after training but for answering: pages; an export's process, graphs and test images as PNG files."""
    began = time.monotonic()
    known = setup.dataset.preprocessing
    build_model(setup.config, known)
    building = time.monotonic() - began
    size = known.stored_size**2 * known.channels
    pages = _PAGES[0] + _PAGES[1] * building
    if not export:
        return pages
    return (
        pages
        + _EXPORT[0]
        + _EXPORT[1] * building
        + len(setup.dataset.test) * (_FILES[0] + _FILES[1] * size)
    )
