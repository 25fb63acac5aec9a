"""Weights of a model to freeze, the order in which they thaw, and freezing itself."""

import re
from collections.abc import Sequence
from typing import Any

from epochal.callbacks.parts.backend import require_built


def frozen_parts(model: Any, pattern: str) -> list[list[Any]]:
    """Return the weights whose path matches, statistics included, by layer, the lowest first.

    A layer here is one with a kernel, and what normalises its output.

    Raises:
        ValueError: the pattern matches nothing that is trained, or all of it.
    """
    require_built(model, "Freezing")
    paths = [weight.path for weight in model.trainable_weights]
    matches = [path for path in paths if re.search(pattern, path)]
    if not matches or len(matches) == len(paths):
        some = ", ".join(paths[:3])
        amount = "none of the weights"
        if matches:
            amount = "every weight"
        raise ValueError(
            f"Freezing {pattern!r} finds {amount} of {model.name}, which are called {some}, ..."
        )
    parts: list[list[Any]] = [[]]
    latest_layer = None
    for weight in model.weights:
        layer = weight.path.rpartition("/")[0]
        if weight.path.endswith("kernel") and layer != latest_layer:
            parts.append([])
            latest_layer = layer
        if re.search(pattern, weight.path):
            parts[-1].append(weight)
    return [part for part in parts if part]


def frozen_in(epoch: int, parts: Sequence[Sequence[Any]], every: int | None) -> list[Any]:
    """Return the weights frozen in `epoch` (from 0); the last part thaws after `every` epochs."""
    num_frozen = len(parts)
    if every is not None:
        num_frozen = max(0, num_frozen - epoch // every)
    frozen: list[Any] = []
    for part in parts[:num_frozen]:
        frozen.extend(part)
    return frozen


def freeze(model: Any, weights: Sequence[Any]) -> None:
    """Make weights untrainable, and the layers all of whose trainable weights they are."""
    frozen = _ids(weights)
    for layer in model._flatten_layers(include_self=False):
        has_frozen = frozen & _ids(layer.weights)
        is_frozen = frozen >= _ids(layer.trainable_weights)
        if has_frozen and is_frozen:
            layer.trainable = False
    for weight in weights:
        weight.trainable = False


def _ids(weights: Sequence[Any]) -> set[int]:
    return {id(weight) for weight in weights}
