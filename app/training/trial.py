"""Steps that are taken to learn something, and undone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from app.training.setup import Setup


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
        setup.batches.position.set(0)

    try:
        yield put_back
    finally:
        put_back()


def steps_of(setup: Setup, count: int) -> Iterator[dict[str, Any]]:
    """The logs of so many training steps from the first, each by its own; the train function must have been made."""
    model, each = setup.model, setup.batches.steps
    for step in range(count):
        if step % each == 0:
            setup.batches.position.set(step // each)
            iterator = iter(setup.batches.dataset(setup.strategy))
        model.reset_metrics()
        yield model.train_function(iterator)
