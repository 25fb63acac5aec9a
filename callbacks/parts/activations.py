"""Watching what passes through the non-linearities of a model, wherever they are."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from keras import ops

from epochal.callbacks.parts.backend import traced

SATURATED = 0.01  # of a non-linearity whose slope is below
_HALF = 0.01  # of the interval over which slopes are taken
_RELUS = {"relu": math.inf, "relu6": 6.0}  # what they are cut off at
_UNLIKE = (
    "linear",
    "softmax",
    "log_softmax",
    "sparsemax",
    "glu",
    "leaky_relu",
)  # not by element, or never saturated
_LAYERS = (
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Maxout",
    "Softmax",
    "StandardizedReLU",
)  # watched for mean and spread alone


class Seen:
    """Moments, saturation and silent units of one layer, over all that it is shown.

    Args:
        top: what a ReLU is cut off at (infinity for the plain one); None for other non-linearities.
        function: a non-linearity by element, whose slope is looked at; None for none.
    """

    def __init__(
        self, *, top: float | None = None, function: Callable[[Any], Any] | None = None
    ) -> None:
        self.count = 0
        self._top = top
        self._function = function
        self._mean = self._squares = (
            0.0  # of the values: mean, and sum of squared differences from it
        )
        self._saturated = 0
        self._largest: np.ndarray | None = None  # by unit

    def add(self, inputs: Any, outputs: Any) -> None:
        """Takes in what came and what went: `[N, ..., units]`."""
        outputs = ops.cast(outputs, "float32")
        size = math.prod(outputs.shape)
        mean = float(ops.mean(outputs))
        squares = float(ops.var(outputs)) * size
        apart = mean - self._mean
        # Chan, Golub and LeVeque 1979: sums of squares from zero would lose what is small beside the mean.
        self._squares += squares + apart**2 * self.count * size / (self.count + size)
        self._mean += apart * size / (self.count + size)
        self.count += size
        if self._top is not None:
            self._saturated += _number(ops.logical_or(outputs == 0, outputs == self._top))
            largest = ops.convert_to_numpy(ops.max(outputs, axis=tuple(range(outputs.ndim - 1))))
            self._largest = largest if self._largest is None else np.maximum(self._largest, largest)
        elif self._function is not None:
            inputs = ops.cast(inputs, "float32")
            rise = ops.abs(self._function(inputs + _HALF) - self._function(inputs - _HALF))
            self._saturated += _number(rise < 2 * _HALF * SATURATED)

    def figures(self) -> dict[str, Any]:
        """Returns mean, spread, saturated, units and dead, as `ActivationMonitor` describes them."""
        knows = self._top is not None or self._function is not None
        units = None if self._largest is None else len(self._largest)
        return {
            "mean": self._mean,
            "spread": math.sqrt(self._squares / self.count),
            "saturated": self._saturated / self.count if knows else None,
            "units": units,
            "dead": None if self._largest is None else np.flatnonzero(self._largest <= 0).tolist(),
        }


@contextmanager
def observed(model: Any) -> Iterator[dict[str, Seen]]:
    """Within it, what the model computes eagerly is added to what it yields: by the path of the layer, as they run."""
    layers: dict[str, Seen] = {}
    held: list[
        tuple[Any, str, Any]
    ] = []  # an object, and what its attribute was: None where the class has it
    try:
        for layer in model._flatten_layers(include_self=False):
            function = vars(layer).get("activation")
            if function is not None and getattr(function, "__name__", "") != "linear":
                held.append((layer, "activation", function))
                layer.activation = partial(
                    _watch, function, _entry(layers, layer, _for_function(function))
                )
            elif (own := _for_layer(layer)) is not None:
                held.append((layer, "call", None))
                layer.call = partial(_watch, layer.call, _entry(layers, layer, own))
        yield layers
    finally:
        for layer, attribute, value in held:
            delattr(layer, attribute) if value is None else setattr(layer, attribute, value)


def _entry(layers: dict[str, Seen], layer: Any, seen: Seen) -> Callable[[], Seen]:
    """What gives `seen`, and has it among the layers from the first time on; numbered where a path is taken."""

    def enter() -> Seen:
        if not seen.count:
            path = getattr(layer, "path", None) or layer.name
            layers[
                next(
                    name
                    for i in count(1)
                    if (name := path if i == 1 else f"{path}#{i}") not in layers
                )
            ] = seen
        return seen

    return enter


def _watch(
    function: Callable[..., Any],
    entry: Callable[[], Seen],
    inputs: Any,
    *others: Any,
    **options: Any,
) -> Any:
    outputs = function(inputs, *others, **options)
    if not traced(outputs):
        entry().add(inputs, outputs)
    return outputs


def _for_function(function: Any) -> Seen:
    name = getattr(function, "__name__", type(function).__name__)
    return (
        Seen(top=_RELUS[name])
        if name in _RELUS
        else Seen(function=None if name in _UNLIKE else function)
    )


def _for_layer(layer: Any) -> Seen | None:
    """For a layer that is a non-linearity by itself; None for any other."""
    if type(layer).__name__ == "ReLU" and not layer.negative_slope and not layer.threshold:
        return Seen(top=math.inf if layer.max_value is None else float(layer.max_value))
    return Seen() if type(layer).__name__ in ("ReLU", *_LAYERS) else None


def _number(mask: Any) -> int:
    return int(ops.sum(ops.cast(mask, "int32")))
