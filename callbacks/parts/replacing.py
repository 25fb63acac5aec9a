"""Methods of the user's objects that a callback replaces for a while.

The model, its optimizer and its layers belong to the program that trains. Where Keras has no hook,
a callback can only put a function of its own in the place of one of their methods. All such
replacements go through this module, and through `cleanup`, which sees to it that they end:

    optimizer.apply               GradientClipping, to see the gradients of all replicas together
    model.evaluate                ExponentialMovingAverage, to have the averages evaluated
    model._make_function          Timing, to tell the wait for a batch from the step
    model.make_train_function     `cleanup`, to learn that the next fit begins
    layer.activation, layer.call  ActivationMonitor, while it computes the activations of a batch
    variable.regularizer          GradientFlow, while it traces the loss without penalties
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from epochal.callbacks.parts.cleanup import call_by_next_fit, cancel


class Replacement:
    """Puts `function` in the place of the method `name` of `owner`.

    It stays until `undo`, a failure or the model's next fit. With `retrace` the model's train
    function, which fit has just made, is made again, and once more afterwards.
    """

    def __init__(
        self,
        callback: keras.callbacks.Callback,
        owner: Any,
        name: str,
        function: Callable[..., Any],
        *,
        retrace: bool = False,
    ) -> None:
        self._model = callback.model
        self._owner = owner
        self._name = name
        self._function = function
        self._retrace = retrace
        setattr(owner, name, function)
        if retrace:
            self._model.make_train_function(force=True)
        call_by_next_fit(callback, self.undo)

    def undo(self) -> None:
        """Take the function away again; the second time nothing happens."""
        if vars(self._owner).get(self._name) == self._function:
            delattr(self._owner, self._name)
            if self._retrace:
                self._model.train_function = None
        cancel(self._model, self.undo)


def refuse_second(callback: keras.callbacks.Callback, owner: Any, name: str) -> None:
    """Raise ValueError where a callback of the same class has replaced the method already."""
    if name in vars(owner):
        raise ValueError(
            f"{name} of {owner.name!r} is replaced already: use one {type(callback).__name__}."
        )


@contextmanager
def replaced(values: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Give attributes other values within it, `(owner, name, value)` each."""
    with ExitStack() as stack:
        for owner, name, value in values:
            is_property = isinstance(
                getattr(
                    type(owner),
                    name,
                    None,
                ),
                property,
            )
            if is_property or name in vars(owner):
                stack.callback(
                    setattr,
                    owner,
                    name,
                    getattr(owner, name),
                )
            else:
                stack.callback(delattr, owner, name)
            setattr(owner, name, value)
        yield
