"""What a callback must still do when training ends by an exception: Keras calls no `on_train_end` then.

The list travels in `params`, the one object that Keras hands to every callback of a fit and to no other fit. Of
exceptions that none of our callbacks raises, such as Ctrl-C, nobody is told: what must not stay is undone when the next
fit begins, by way of the model's `make_train_function`.
"""

from collections.abc import Callable
from typing import Any

import keras


class _NextFit:
    """Stands for a model's `make_train_function` until a fit calls it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.actions: list[Callable[[], object]] = []

    def __call__(self, force: bool = False) -> Any:
        if not force:  # as callbacks do within a fit
            del self.model.make_train_function
            for action in reversed(self.actions):
                action()
        return type(self.model).make_train_function(self.model, force)


def undo_on_failure(callback: keras.callbacks.Callback, action: Callable[[], object]) -> None:
    """Has `action` called if another callback of the same fit ends training by an exception."""
    if callback.params is not None:
        callback.params.setdefault("on_failure", []).append(action)


def undo_by_next_fit(callback: keras.callbacks.Callback, action: Callable[[], object]) -> None:
    """Has `action`, which ends with `undone`, called on failure, or when the model's next fit begins at the latest."""
    undo_on_failure(callback, action)
    if callback.params is not None:
        model = callback.model
        if "make_train_function" not in vars(model):
            model.make_train_function = _NextFit(model)
        model.make_train_function.actions.append(action)


def undone(model: Any, action: Callable[[], object]) -> None:
    """Has the next fit not call `action` any more."""
    hook = vars(model).get("make_train_function")
    if hook and action in hook.actions:
        hook.actions.remove(action)
        if not hook.actions:
            del model.make_train_function


def undo(callback: keras.callbacks.Callback) -> None:
    """Calls what the callbacks of this fit registered, latest first; to be called before raising."""
    actions = (callback.params or {}).get("on_failure", [])
    while actions:
        actions.pop()()
