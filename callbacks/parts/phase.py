"""The order of a list of callbacks, and the state of those that have some.

Keras calls the callbacks of a list one after the other, in every hook. The order matters: whoever
chooses the best epoch must come after whoever puts averaged weights into the model, and whoever
saves must come after all others. Each callback therefore declares a `phase`; `sort_callbacks` makes
a list of them.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable


class Phase(IntEnum):
    """The place of a callback in the list; smaller numbers come first.

    MEASURE: measures time, that of all others included (`Timing`), or tells how much is left
        (`Budget`, which the schedules ask).
    STEER: decides how the coming steps move the weights: learning rate, frozen weights, clipping,
        averages. What stands behind finds the epoch's learning rate and gradient norm in the logs,
        and the averages where weights are asked for.
    GUARD: ends training at numbers that are not finite. What stands behind sees good epochs alone.
    RECORD: writes down or prints what happened, and adds figures to the logs; changes nothing.
    KEEP: chooses the best epoch from the complete logs, keeps its weights, and puts them back when
        training ends.
    SAVE: writes what is final: figures of the weights that were kept (`ActivationMonitor`), the
        history, and last of all checkpoints, which hold the state of all others.
    """

    MEASURE = 0
    STEER = 1
    GUARD = 2
    RECORD = 3
    KEEP = 4
    SAVE = 5


@runtime_checkable
class Stateful(Protocol):
    """A callback whose state belongs into a checkpoint.

    `key` is the name under which a checkpoint stores the state: short, in snake case, unique in a
    list. It is a class attribute. For a second callback of one class give the instance another:
    `callback.key = "best_accuracy"`. `get_state` returns numbers, strings, arrays and lists of
    arrays; `set_state` takes that over, after `on_train_begin`.
    """

    key: str

    def get_state(self) -> dict[str, Any]:
        """Return the state as it is now."""
        ...

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned."""
        ...


def sort_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """Return the callbacks by phase; within a phase they keep their order.

    Raises:
        ValueError: a callback without a phase, one with a state but no key, or two with the same
            key.
    """
    callbacks = list(callbacks)
    keys = set()
    for callback in callbacks:
        name = type(callback).__name__
        if not hasattr(callback, "phase"):
            raise ValueError(f"{name} has no phase: set its attribute `phase` to a Phase.")
        if not hasattr(callback, "get_state"):
            continue
        key = getattr(callback, "key", None)
        if key is None:
            raise ValueError(f"{name} has a state but no key: set its attribute `key` to a name.")
        if key in keys:
            raise ValueError(
                f"{name} has the key {key!r}, as another callback has: "
                "set its attribute `key` to another name."
            )
        keys.add(key)
    return sorted(callbacks, key=lambda callback: callback.phase)
