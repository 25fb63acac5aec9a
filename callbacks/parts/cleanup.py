"""Clean-up after a fit that ends by an exception, for which Keras calls no `on_train_end`.

The actions of a fit are listed in `params`, the one object that Keras hands to every callback of a
fit and to no other fit. `NanGuard` calls them before it raises. Of other exceptions, such as
Ctrl-C, no callback is told: what must not stay is undone when the model's next fit begins, by way
of its `make_train_function`.
"""

from collections.abc import Callable
from typing import Any

import keras

_ACTIONS = "on_failure"  # in `params`


class _NextFit:
    """Stands for a model's `make_train_function` until a fit calls it."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.actions: list[Callable[[], object]] = []

    def __call__(self, force: bool = False) -> Any:
        # A fit calls it without `force` as it begins; callbacks force another function within one.
        if not force:
            del self.model.make_train_function
            for action in reversed(self.actions):
                action()
        return type(self.model).make_train_function(self.model, force)


def call_on_failure(callback: keras.callbacks.Callback, action: Callable[[], object]) -> None:
    """Have `action` called if another callback of the same fit ends training by an exception."""
    if callback.params is not None:
        callback.params.setdefault(_ACTIONS, []).append(action)


def call_by_next_fit(callback: keras.callbacks.Callback, action: Callable[[], object]) -> None:
    """Have `action` called on failure, or when the model's next fit begins, unless cancelled."""
    call_on_failure(callback, action)
    if callback.params is not None:
        model = callback.model
        if "make_train_function" not in vars(model):
            model.make_train_function = _NextFit(model)
        model.make_train_function.actions.append(action)


def cancel(model: Any, action: Callable[[], object]) -> None:
    """Have the model's next fit not call `action` any more: it is done."""
    hook = vars(model).get("make_train_function")
    if hook and action in hook.actions:
        hook.actions.remove(action)
        if not hook.actions:
            del model.make_train_function


def clean_up(callback: keras.callbacks.Callback) -> None:
    """Call the actions of this fit, latest first; to be called before raising."""
    actions = (callback.params or {}).get(_ACTIONS, [])
    while actions:
        action = actions.pop()
        action()
