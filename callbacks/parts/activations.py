"""Observation of what passes through the non-linearities of a model, wherever they are."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from epochal.callbacks.parts.activation_statistics import ActivationStatistics
from epochal.callbacks.parts.backend import is_traced
from epochal.callbacks.parts.replacing import replaced

_RELU_TOPS = {"relu": math.inf, "relu6": 6.0}  # what they are cut off at
# Functions that do not act by element, or are never saturated: mean and spread alone are measured.
_WITHOUT_SATURATION = (
    "linear",
    "softmax",
    "log_softmax",
    "sparsemax",
    "glu",
    "leaky_relu",
)
# Layers that are non-linearities themselves, of which mean and spread alone are measured.
_LAYERS = (
    "ReLU",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "Maxout",
    "Softmax",
    "StandardizedReLU",
)


class _Observer:
    """Calls a non-linearity in its place, and adds what went in and came out to statistics.

    From the first time on these are among `layers`, by the path of the layer, numbered where a path
    is taken.
    """

    def __init__(
        self,
        layers: dict[str, ActivationStatistics],
        layer: Any,
        statistics: ActivationStatistics,
    ) -> None:
        self._layers = layers
        self._path = getattr(layer, "path", None) or layer.name
        self._statistics = statistics

    def call(self, function: Callable[..., Any], inputs: Any, *args: Any, **options: Any) -> Any:
        outputs = function(inputs, *args, **options)
        if not is_traced(outputs):
            if not self._statistics.count:
                self._layers[self._free_name()] = self._statistics
            self._statistics.add(inputs, outputs)
        return outputs

    def _free_name(self) -> str:
        name = self._path
        number = 1
        while name in self._layers:
            number += 1
            name = f"{self._path}#{number}"
        return name


@contextmanager
def observe_activations(model: Any) -> Iterator[dict[str, ActivationStatistics]]:
    """Add what the model computes eagerly within it to the statistics that it yields.

    These are by the path of their layer, in the order in which the layers run.
    """
    layers: dict[str, ActivationStatistics] = {}
    statistics: ActivationStatistics | None
    replacements: list[tuple[Any, str, Any]] = []
    for layer in model._flatten_layers(include_self=False):
        function = vars(layer).get("activation")
        if (
            function is not None
            and getattr(
                function,
                "__name__",
                "",
            )
            != "linear"
        ):
            statistics = _statistics_of_function(function)
            name = "activation"
        else:
            statistics = _statistics_of_layer(layer)
            name = "call"
            function = layer.call
        if statistics is not None:
            observer = _Observer(layers, layer, statistics)
            observed = partial(observer.call, function)
            replacements.append((layer, name, observed))
    with replaced(replacements):
        yield layers


def _statistics_of_function(function: Any) -> ActivationStatistics:
    name = getattr(function, "__name__", type(function).__name__)
    if name in _RELU_TOPS:
        return ActivationStatistics(top=_RELU_TOPS[name])
    if name in _WITHOUT_SATURATION:
        return ActivationStatistics()
    return ActivationStatistics(function=function)


def _statistics_of_layer(layer: Any) -> ActivationStatistics | None:
    """Return statistics for a layer that is a non-linearity itself; None for any other."""
    name = type(layer).__name__
    if name == "ReLU" and not layer.negative_slope and not layer.threshold:
        top = math.inf
        if layer.max_value is not None:
            top = float(layer.max_value)
        return ActivationStatistics(top=top)
    if name in _LAYERS:
        return ActivationStatistics()
    return None
