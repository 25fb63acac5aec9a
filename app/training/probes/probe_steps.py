"""Probe steps: training steps that are taken to learn something, and undone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import mean
from typing import Any

from epochal.app.training.run.setup import Setup

_MEASURED_SECONDS = 2.0


@contextmanager
def undone(setup: Setup) -> Iterator[Callable[[], None]]:
    """Yield a function that puts back all that a training step moves, and call it in the end."""
    model = setup.model
    variables = [*model.variables, *model.optimizer.variables]
    first_values = [variable.numpy() for variable in variables]

    def put_back() -> None:
        for variable, value in zip(variables, first_values, strict=True):
            variable.assign(value)
        model.reset_metrics()
        setup.clipping.clipper.reset()
        setup.batches.position.set(0)

    try:
        yield put_back
    finally:
        put_back()


def logs_of_steps(setup: Setup, count: int) -> Iterator[dict[str, Any]]:
    """Yield the logs of `count` training steps from the first, each without those before it.

    The train function must have been made.
    """
    model = setup.model
    steps = setup.batches.steps
    for step in range(count):
        epoch, step_of_epoch = divmod(step, steps)
        if step_of_epoch == 0:
            setup.batches.position.set(epoch)
            iterator = iter(setup.batches.dataset(setup.strategy))
        model.reset_metrics()
        yield model.train_function(iterator)


def step_seconds(setup: Setup, *, most: int, within: float) -> list[float]:
    """Return the seconds of each of `most` steps after the first, which traces the graph.

    There are fewer steps, but at least one, when they take longer than `within` seconds.
    """
    setup.model.make_train_function()
    ends: list[float] = []
    for logs in logs_of_steps(setup, most + 1):
        float(logs["loss"])  # waits for the device
        ends.append(time.monotonic())
        elapsed = ends[-1] - ends[0]
        if len(ends) > 1 and elapsed > within:
            break
    seconds = []
    for before, after in pairwise(ends):
        seconds.append(after - before)
    return seconds


def seconds_a_step(setup: Setup) -> float:
    """Return the mean seconds of a few training steps, which are undone."""
    most = max(1, setup.batches.steps - 1)
    with undone(setup):
        return mean(
            step_seconds(
                setup,
                most=most,
                within=_MEASURED_SECONDS,
            )
        )
