"""Steps that are taken to learn something, and undone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import mean
from typing import Any

from epochal.app.training.run.setup import Setup

_MEASURED = 2.0  # seconds of steps


@contextmanager
def undone(setup: Setup) -> Iterator[Callable[[], None]]:
    """Gives a function that puts weights, optimizer, random state and metrics back, and calls it in the end."""
    model = setup.model
    variables = [*model.variables, *model.optimizer.variables]
    first = [variable.numpy() for variable in variables]

    def put_back() -> None:
        for variable, value in zip(variables, first, strict=True):
            variable.assign(value)
        model.reset_metrics()
        setup.clipping.reset()
        setup.batches.position.set(0)

    try:
        yield put_back
    finally:
        put_back()


def steps_of(setup: Setup, count: int) -> Iterator[dict[str, Any]]:
    """The logs of so many training steps from the first, each by its own; the train function must have been made."""
    model = setup.model
    each = setup.batches.steps
    for step in range(count):
        if step % each == 0:
            setup.batches.position.set(step // each)
            iterator = iter(setup.batches.dataset(setup.strategy))
        model.reset_metrics()
        yield model.train_function(iterator)


def step_seconds(setup: Setup, *, most: int, within: float) -> list[float]:
    """Seconds of each of so many steps after the first, which traces the graph; fewer, at least one, after `within`."""
    setup.model.make_train_function()
    ends: list[float] = []
    for logs in steps_of(setup, most + 1):
        float(logs["loss"])  # waits for the device
        ends.append(time.monotonic())
        if len(ends) > 1 and ends[-1] - ends[0] > within:
            break
    return [after - before for before, after in pairwise(ends)]


def seconds_a_step(setup: Setup) -> float:
    """The mean over some steps, which are undone."""
    with undone(setup):
        return mean(step_seconds(setup, most=max(1, setup.batches.steps - 1), within=_MEASURED))
