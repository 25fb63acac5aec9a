"""What a callback must still do when training ends by an exception: Keras calls no `on_train_end` then.

The list travels in `params`, the one object that Keras hands to every callback of a fit and to no other fit.
"""

from collections.abc import Callable

import keras


def undo_on_failure(callback: keras.callbacks.Callback, action: Callable[[], object]) -> None:
    """Has `action` called if another callback of the same fit ends training by an exception."""
    if callback.params is not None:
        callback.params.setdefault("on_failure", []).append(action)


def undo(callback: keras.callbacks.Callback) -> None:
    """Calls what the callbacks of this fit registered, latest first; to be called before raising."""
    actions = (callback.params or {}).get("on_failure", [])
    while actions:
        actions.pop()()
