"""A time budget for the whole command: does an epoch fit into it, and who keeps it."""

import math
import time

from epochal import callbacks
from epochal.app.config import Config
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.evaluation.views import views_for
from epochal.app.training.probes.probe_steps import seconds_a_step
from epochal.app.training.run.setup import Setup

# The figures below are measured; benchmarks/budget.py shows how they hold.
# Evaluating images takes at most this share of a training step on as many.
_EVALUATION_SHARE = 0.4
# Seconds for pictures, the report and the end of the process; they grow with the time of building
# the model, which tells how fast the machine and how deep the network is.
_REPORT_SECONDS = 4.5
_REPORT_PER_BUILDING = 9.0
# The same for an export: a process of its own, and graphs for every way in.
_EXPORT_SECONDS = 8.0
_EXPORT_PER_BUILDING = 27.0
# An export answers the test images twice in this process, then through each way in.
_EXPORT_PASSES = 7
# Seconds for each test image, and for each byte of one: an export is asked about PNG files too.
_PNG_SECONDS = 7e-4
_PNG_SECONDS_PER_BYTE = 8e-8


def refuse_hopeless(config: Config, began: float) -> None:
    """Refuse a budget that is spent already, before any data is read or any step is measured."""
    seconds = config.budget_seconds
    spent = time.monotonic() - began
    if seconds is not None and spent + _REPORT_SECONDS > seconds:
        raise UsageError(
            f"budget: {config.budget} is too little for one epoch: {spent:.0f} s went by already, "
            f"and the report takes {_REPORT_SECONDS:.0f} s; give more"
        )


def budget_for(
    setup: Setup, began: float, *, fresh: bool, export: bool = False
) -> callbacks.Budget | None:
    """Return the callback that ends training in time, or None where epochs decide.

    Before a fresh run it trains some steps to know what an epoch takes, and undoes them; a run that
    goes on has that in its checkpoint.

    Args:
        setup: the model and its data
        began: `time.monotonic()` when the command began
        fresh: whether training begins, rather than goes on
        export: whether to keep time for an export

    Raises:
        UsageError: not even one epoch fits.
    """
    seconds = setup.config.budget_seconds
    if seconds is None:
        return None
    dataset = setup.dataset
    step = 0.0
    if fresh:
        refuse_hopeless(setup.config, began)
        step = seconds_a_step(setup)
    images_per_step = setup.config.global_batch
    validation = _EVALUATION_SHARE * step * len(dataset.validation) / images_per_step
    spent = time.monotonic() - began
    fixed = _fixed_seconds_after(setup, export=export)
    test_passes = 1
    if export:
        test_passes += _EXPORT_PASSES
    views = views_for(
        setup.config,
        dataset.preprocessing,
        flippable=dataset.flippable,
    )
    num_views = len(views.windows)
    # Validation images are passed through in the epoch's validation, and for the report.
    validations = 1 + num_views * (1 + test_passes * len(dataset.test) / len(dataset.validation))

    def seconds_after(validation: float) -> float:
        return fixed + validation * validations

    epoch = step * setup.batches.steps
    needed = spent + epoch + seconds_after(validation)
    if fresh and needed > seconds:
        and_export = ""
        if export:
            and_export = " and export"
        raise UsageError(
            f"budget: {setup.config.budget} is too little for one epoch: {spent:.0f} s until now, "
            f"about {epoch:.0f} s for it and {seconds_after(validation):.0f} s of "
            f"evaluation{and_export}; "
            f"give at least {math.ceil(1.1 * needed)}s"
        )
    return callbacks.Budget(
        seconds,
        after=seconds_after,
        validation=validation,
        spent=spent,
    )


def _fixed_seconds_after(setup: Setup, *, export: bool) -> float:
    """Return the seconds after training that go neither into validation nor into test answers."""
    began = time.monotonic()
    preprocessing = setup.dataset.preprocessing
    build_model(setup.config, preprocessing)
    building = time.monotonic() - began
    seconds = _REPORT_SECONDS + _REPORT_PER_BUILDING * building
    if export:
        image_bytes = preprocessing.stored_size**2 * preprocessing.channels
        image_seconds = _PNG_SECONDS + _PNG_SECONDS_PER_BYTE * image_bytes
        seconds += _EXPORT_SECONDS + _EXPORT_PER_BUILDING * building
        seconds += len(setup.dataset.test) * image_seconds
    return seconds
