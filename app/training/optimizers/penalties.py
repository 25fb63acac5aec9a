"""Pulls on weights towards zero that join the gradient: coupled weight decay, L1 by subgradient."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from epochal.app.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class WeightPenalty:
    """Penalty `decay / 2 * w^2 + l1 * |w|` of weights: `decay * w + l1 * sign(w)` in the gradient.

    Keras' `L2(l)` adds `2 * l * w` to it: l is half the rate that papers and PyTorch quote.

    Args:
        decay: of the squares
        l1: of the absolute values
        pattern: a regular expression on paths such as stem_conv/kernel (None: all kernels)
    """

    decay: float = 0.0
    l1: float = 0.0
    pattern: str | None = None

    def values(self, weights: Iterable[Any]) -> list[tf.Tensor]:
        """Return the penalty of each of the weights that has one, a scalar of its type."""
        if not self.decay and not self.l1:
            return []
        regularizer = keras.regularizers.L1L2(self.l1, self.decay / 2)
        values = []
        for weight in weights:
            if is_decayed(weight, self.pattern):
                values.append(regularizer(weight))
        return values


def is_decayed(weight: Any, pattern: str | None = None) -> bool:
    """Tell whether a weight decays: its path matches, or it is a kernel of a layer.

    Kernels are what multiplies activations; biases, scales of normalisations, gates and quantisers
    are none (He et al. 2019, arXiv:1812.01187, section 3.1).
    """
    if pattern is None:
        return bool(weight.name.endswith("kernel"))
    return re.search(pattern, weight.path) is not None


def decayed(model: Any, pattern: str | None = None) -> list[Any]:
    """Return the trainable weights that decay.

    Raises:
        UsageError: when the pattern matches nothing.
    """
    if pattern is not None:
        return matching(model, pattern, "optim.decays")
    return [weight for weight in model.trainable_weights if is_decayed(weight)]


def matching(model: Any, pattern: str, key: str) -> list[Any]:
    """Return the trainable weights whose path `layer/weight` the regular expression finds.

    Raises:
        UsageError: naming `key` and some paths, when there are none.
    """
    matches = []
    paths = []
    for weight in model.trainable_weights:
        paths.append(weight.path)
        if re.search(pattern, weight.path):
            matches.append(weight)
    if not matches:
        some = ", ".join(paths[:3])
        raise UsageError(
            f"{key}: {pattern!r} matches no weight of {model.name}; they are called {some}, ..."
        )
    return matches


def soft_threshold(weight: Any, threshold: Any) -> tf.Tensor:
    """Return `sign(w) max(|w| - threshold, 0)`: exact zeros.

    This is the proximal step of L1 (Daubechies et al. 2004).
    """
    return tf.sign(weight) * tf.maximum(tf.abs(weight) - tf.cast(threshold, weight.dtype), 0)
