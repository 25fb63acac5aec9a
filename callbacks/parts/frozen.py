"""Which weights of a model are frozen, and what being frozen is."""

import re
from collections.abc import Sequence
from typing import Any

from epochal.callbacks.parts.backend import require_built


def frozen_parts(model: Any, pattern: str) -> list[list[Any]]:
    """Returns the weights whose path matches, statistics included: a part for each layer with a kernel, lowest first.

    Raises ValueError when the pattern matches nothing that is trained, or all of it.
    """
    require_built(model, "Freezing")
    found = [weight for weight in model.trainable_weights if re.search(pattern, weight.path)]
    if not found or len(found) == len(model.trainable_weights):
        some = ", ".join(weight.path for weight in model.trainable_weights[:3])
        amount = "every weight" if found else "none of the weights"
        raise ValueError(
            f"Freezing {pattern!r} finds {amount} of {model.name}, which are called {some}, ..."
        )
    cut: list[list[Any]] = [[]]
    last = None
    for weight in model.weights:
        layer = weight.path.rpartition("/")[0]
        if weight.path.endswith("kernel") and layer != last:
            cut.append([])
            last = layer
        if re.search(pattern, weight.path):
            cut[-1].append(weight)
    return [part for part in cut if part]


def frozen_in(epoch: int, held: Sequence[Sequence[Any]], every: int | None) -> list[Any]:
    """Returns the weights that are frozen in `epoch` (from 0) when after `every` epochs the last part thaws."""
    left = len(held) - (epoch // every if every else 0)
    return [weight for part in held[: max(0, left)] for weight in part]


def freeze(model: Any, weights: Sequence[Any]) -> None:
    """Makes weights untrainable, and the layers all of whose trainable weights they are: see `Freezing`."""
    frozen = {id(weight) for weight in weights}
    for layer in model._flatten_layers(include_self=False):
        own = {id(weight) for weight in layer.weights}
        if own & frozen and {id(weight) for weight in layer.trainable_weights} <= frozen:
            layer.trainable = False
    for weight in weights:
        weight.trainable = False
