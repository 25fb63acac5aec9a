"""Weights that an epoch was evaluated with: the model's, or averages of them.

The callback that exchanges the weights during validation, and those that keep the best epoch's,
learn of each other through `params`, as in `callbacks.parts.cleanup`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

_WEIGHTS = "evaluated"  # in `params`


def provide_evaluated_weights(
    callback: keras.callbacks.Callback, weights: Callable[[], list[np.ndarray]]
) -> None:
    """Have `weights()`, ordered like `model.get_weights()`, taken for what this fit evaluates."""
    if callback.params is not None:
        callback.params[_WEIGHTS] = weights


def finite_weights(
    callback: keras.callbacks.Callback, logs: Mapping[str, Any]
) -> list[np.ndarray] | None:
    """Return copies of the weights that the epoch which logged `logs` was evaluated with.

    None where a loss or a weight is not finite: accuracy stays finite when the weights are NaN, so
    the monitored value alone cannot be trusted.
    """
    for name, value in logs.items():
        if name.endswith("loss") and not math.isfinite(value):
            return None
    params = callback.params or {}
    read_weights = params.get(_WEIGHTS, callback.model.get_weights)
    copies = []
    for weight in read_weights():
        if not np.isfinite(weight).all():
            return None
        copies.append(np.array(weight))
    return copies
