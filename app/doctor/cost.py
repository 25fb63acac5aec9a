"""What the run will take: time, memory and room on disk."""

import math
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from epochal.app.data.dataset import CachedImages
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.doctor.finding import Finding, error, ok, warning
from epochal.app.store.run import ROOT
from epochal.app.training.probes.probe_steps import step_seconds, undone
from epochal.app.training.run.setup import Setup
from epochal.app.units import number_of, size, time_of
from epochal.models.complexity import model_cost
from epochal.models.cost_rules import itemsize

_TIMED = 9  # steps
_SECONDS = 8.0  # or so long
_CHECKPOINTS = 4  # two kept, the best weights, and one that is being written
_REST = 2**25  # bytes of histograms, plots and tables, about
_USABLE = 0.75  # of free memory, for what is counted: peaks were 1.07 to 1.25 times that (three kinds of networks)
_MEMINFO = Path("/proc/meminfo")


def duration(setup: Setup) -> Finding:
    """Measures some steps and an evaluation batch; they are undone."""
    with undone(setup):
        step = median(step_seconds(setup, most=_TIMED, within=_SECONDS))
        evaluated = _evaluation_seconds(setup)
    config = setup.config
    steps = setup.batches.steps
    epoch = steps * step + evaluated
    each = f"{number_of(steps, 'step')} of {1000 * step:.1f} ms and {evaluated:.1f} s of validation"
    if config.budget_seconds is None:
        return ok(f"about {time_of(config.last_epoch * epoch)}: {config.extent}, each {each}")
    if epoch > config.budget_seconds:
        return error(
            f"not one epoch fits into {config.extent}: it has {each}; give a larger --budget"
        )
    return ok(f"about {config.budget_seconds / epoch:.0f} epochs in {config.extent}, each {each}")


def memory(setup: Setup) -> Finding:
    """Counts weights, gradients, the optimizer's slots, activations kept for the backward pass and cached images."""
    model = setup.model
    config = setup.config
    weights = _bytes([*model.weights, *model.optimizer.variables]) + _bytes(model.trainable_weights)
    at_once = config.batch_size // config.optim.micro_batches
    try:
        activations = model_cost(model, at_once).kept_bytes
        told = f"{size(activations)} of activations"
    except ValueError:  # a layer whose cost is not known
        activations = 0
        told = "activations not counted"
    stores = {
        id(split.images): split.images for split in (setup.dataset.train, setup.dataset.validation)
    }
    images = sum(
        int(np.prod(s.tensor.shape)) for s in stores.values() if isinstance(s, CachedImages)
    )
    told = f"{size(weights)} of weights, gradients and slots, {told}; {size(images)} of images are in memory"
    available = available_memory()
    most = None if available is None else largest_batch(weights, activations / at_once, available)
    return judged_memory(weights + activations, told, available, most)


def largest_batch(fixed: int, each: float, available: int) -> int | None:
    """The power of two of images that fit beside `fixed` bytes, at `each` bytes an image; None where none does."""
    room = (_USABLE * available - fixed) / each if each else 0.0
    return 2 ** int(math.log2(room)) if room >= 1 else None


def judged_memory(
    needed: int, told: str, available: int | None, most: int | None = None
) -> Finding:
    """Whether so many bytes can be had; None where this system does not say."""
    if available is None:
        return ok(told)
    if needed > _USABLE * available:
        lower = (
            "take a smaller network"
            if most is None
            else f"lower --batch-size to {most:,}, or give micro-batches"
        )
        return warning(f"{told}: too much for the {size(available)} that are free; {lower}")
    enough = "" if most is None else f", enough for some {most:,} at a time"
    return ok(f"{told}; {size(available)} are free{enough}")


def available_memory() -> int | None:
    """Bytes that Linux would give to a process without swapping; None elsewhere."""
    if not _MEMINFO.exists():
        return None
    fields = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def disk(setup: Setup) -> Finding:
    """The run's folder will fit: checkpoints are weights and slots, uncompressed."""
    needed = (
        _CHECKPOINTS * _bytes([*setup.model.variables, *setup.model.optimizer.variables]) + _REST
    )
    place = ROOT.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        return error(
            f"the run needs about {size(needed)}, {place} has {size(free)} left; free some"
        )
    return ok(f"about {size(needed)} in {ROOT}/, {size(free)} are free")


def _evaluation_seconds(setup: Setup) -> float:
    """The time of an evaluation of the validation images, from its second batch's."""
    model = setup.model
    split = setup.dataset.validation
    preprocessing = setup.dataset.preprocessing
    batches = evaluation_batches(split, preprocessing, setup.strategy)
    model.make_test_function()
    seconds = 0.0
    for _ in range(2):  # the first one traces
        iterator = iter(batches)
        started = time.monotonic()
        float(model.test_function(iterator)["loss"])
        seconds = time.monotonic() - started
    # A distributed data set has no length.
    return seconds * len(evaluation_batches(split, preprocessing))


def _bytes(variables: list[Any]) -> int:
    return sum(int(np.prod(variable.shape)) * itemsize(variable) for variable in variables)
