"""Which weights an epoch's validation was of: shared by the callback that exchanges them and those that keep the best.

As in `callbacks.parts.failure`, what callbacks of one fit know of each other travels in `params`.
"""

from collections.abc import Callable

import keras
import numpy as np


def answer_for(callback: keras.callbacks.Callback, weights: Callable[[], list[np.ndarray]]) -> None:
    """Has `weights()`, in the order of `model.get_weights()`, taken for what was evaluated in this fit."""
    if callback.params is not None:
        callback.params["evaluated"] = weights


def evaluated_weights(callback: keras.callbacks.Callback) -> list[np.ndarray]:
    """Returns copies of the weights that the latest epoch was evaluated with, in the order of `get_weights()`."""
    weights = (callback.params or {}).get("evaluated", callback.model.get_weights)
    return [np.array(weight) for weight in weights()]
