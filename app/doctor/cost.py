"""Cost of the run: time, memory and room on disk."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from epochal.app.data.dataset import CachedImages
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.store.runs import ROOT
from epochal.app.training.probes.probe_steps import step_seconds, undone
from epochal.app.training.run.setup import Setup
from epochal.app.units import number_of, size, time_of
from epochal.models.complexity import model_cost
from epochal.models.cost_rules import itemsize

_TIMED_STEPS = 9
_MAX_SECONDS = 8.0  # of timed steps
# Two checkpoints are kept, beside the best weights and a checkpoint that is being written.
_NUM_CHECKPOINTS = 4
_OTHER_FILES_BYTES = 2**25  # histograms, plots and tables, about
# Peaks of three kinds of networks were 1.07 to 1.25 times the bytes that are counted here.
_USABLE_SHARE = 0.75
_MEMINFO = Path("/proc/meminfo")


def check_duration(setup: Setup) -> Finding:
    """Check that an epoch fits into the budget.

    Some steps and a batch of evaluation are timed, and undone.
    """
    with undone(setup):
        seconds = step_seconds(
            setup,
            most=_TIMED_STEPS,
            within=_MAX_SECONDS,
        )
        step = median(seconds)
        evaluation = _time_evaluation(setup)
    config = setup.config
    extent = config.extent
    budget = config.budget_seconds
    steps = setup.batches.steps
    epoch = steps * step + evaluation
    milliseconds = 1000 * step
    parts = (
        f"{number_of(steps, 'step')} of {milliseconds:.1f} ms and {evaluation:.1f} s of validation"
    )
    if budget is None:
        total = time_of(config.last_epoch * epoch)
        return ok(f"about {total}: {extent}, each {parts}")
    if epoch > budget:
        return error(f"not one epoch fits into {extent}: it has {parts}; give a larger --budget")
    return ok(f"about {budget / epoch:.0f} epochs in {extent}, each {parts}")


def read_available_memory() -> int | None:
    """Return the bytes that Linux would give to a process without swapping; None elsewhere."""
    if not _MEMINFO.exists():
        return None
    for line in _MEMINFO.read_text().splitlines():
        name, value = line.split(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def check_memory(
    setup: Setup, read_available: Callable[[], int | None] = read_available_memory
) -> Finding:
    """Check that weights, gradients, optimizer slots, activations and cached images fit.

    Activations are those that are kept for the backward pass.

    Args:
        setup: to be trained
        read_available: returns the bytes that can be had, None where the system does not say
    """
    model = setup.model
    config = setup.config
    state_bytes = _count_bytes([*model.weights, *model.optimizer.variables])
    gradient_bytes = _count_bytes(model.trainable_weights)
    fixed = state_bytes + gradient_bytes
    micro_batch = config.global_batch // config.optim.micro_batches
    try:
        activations = model_cost(model, micro_batch).kept_bytes
        activations_text = f"{size(activations)} of activations"
    except ValueError:  # a layer whose cost is not known
        activations = 0
        activations_text = "activations not counted"
    images = _count_cached_bytes(setup)
    text = (
        f"{size(fixed)} of weights, gradients and slots, {activations_text}; "
        f"{size(images)} of images are in memory"
    )
    available = read_available()
    max_batch = None
    if available is not None:
        max_batch = largest_batch(
            fixed,
            activations / micro_batch,
            available,
        )
    return judge_memory(fixed + activations, text, available, max_batch)


def _count_cached_bytes(setup: Setup) -> int:
    """Return the bytes of images in memory; those that two splits share count once."""
    train = setup.dataset.train.images
    validation = setup.dataset.validation.images
    stores = [train]
    if validation is not train:
        stores.append(validation)
    total = 0
    for store in stores:
        if isinstance(store, CachedImages):
            total += int(np.prod(store.tensor.shape))
    return total


def largest_batch(fixed: int, image_bytes: float, available: int) -> int | None:
    """Return the largest power of two of images that fits beside `fixed` bytes; None if none does.

    Args:
        fixed: bytes that do not depend on the batch
        image_bytes: of one image's activations; 0 if they are not known
        available: bytes
    """
    if image_bytes == 0:
        return None
    num_images = (_USABLE_SHARE * available - fixed) / image_bytes
    if num_images < 1:
        return None
    return 2 ** int(math.log2(num_images))


def judge_memory(
    needed: int, text: str, available: int | None, max_batch: int | None = None
) -> Finding:
    """Return whether `needed` bytes can be had.

    Args:
        needed: bytes
        text: describes them
        available: bytes; None where the system does not say
        max_batch: images at a time that would fit, if any
    """
    if available is None:
        return ok(text)
    free = size(available)
    if needed > _USABLE_SHARE * available:
        advice = "take a smaller network"
        if max_batch is not None:
            advice = f"lower --batch-size to {max_batch:,}, or give micro-batches"
        return warning(f"{text}: too much for the {free} that are free; {advice}")
    text = f"{text}; {free} are free"
    if max_batch is not None:
        text += f", enough for some {max_batch:,} at a time"
    return ok(text)


def check_disk(setup: Setup, free: int | None = None) -> Finding:
    """Check that the run's folder fits; checkpoints are weights and slots, uncompressed.

    Args:
        setup: to be trained
        free: bytes on the disk of the runs (None: as the system says)
    """
    model = setup.model
    variables = [*model.variables, *model.optimizer.variables]
    checkpoint = _count_bytes(variables)
    needed = _NUM_CHECKPOINTS * checkpoint + _OTHER_FILES_BYTES
    folder = ROOT.absolute()
    while not folder.exists():
        folder = folder.parent
    if free is None:
        free = shutil.disk_usage(folder).free
    if needed > free:
        return error(
            f"the run needs about {size(needed)}, {folder} has {size(free)} left; free some"
        )
    return ok(f"about {size(needed)} in {ROOT}/, {size(free)} are free")


def _time_evaluation(setup: Setup) -> float:
    """Return the seconds that an evaluation of the validation images takes, about."""
    model = setup.model
    split = setup.dataset.validation
    preprocessing = setup.dataset.preprocessing
    batches = evaluation_batches(split, preprocessing, setup.strategy)
    model.make_test_function()
    seconds = 0.0
    # The first batch traces the graph, the second is timed.
    for _ in range(2):
        iterator = iter(batches)
        start = time.monotonic()
        float(model.test_function(iterator)["loss"])
        seconds = time.monotonic() - start
    # A distributed data set has no length.
    return seconds * len(evaluation_batches(split, preprocessing))


def _count_bytes(variables: list[Any]) -> int:
    total = 0
    for variable in variables:
        total += int(np.prod(variable.shape)) * itemsize(variable)
    return total
