"""What pulls weights towards zero: coupled and decoupled weight decay, L1 by subgradient and by soft threshold."""

import re
from typing import Any

import keras
import tensorflow as tf

from epochal.app.config import Optim
from epochal.app.errors import UsageError


def decayed(model: Any, pattern: str | None = None) -> list[Any]:
    """The weights that decay: those whose path matches, or the kernels of layers (row B15 of the lectures).

    Kernels are what multiplies activations; biases, scales of normalisations, gates and quantisers are none.

    Raises:
        UsageError: when the pattern matches nothing.
    """
    if pattern is None:
        return [weight for weight in model.trainable_weights if weight.name.endswith("kernel")]
    return matching(model, pattern, "optim.decays")


def matching(model: Any, pattern: str, key: str) -> list[Any]:
    """The trainable weights whose path `layer/weight` the regular expression finds.

    Raises:
        UsageError: naming `key` and some paths, when there are none.
    """
    found = [weight for weight in model.trainable_weights if re.search(pattern, weight.path)]
    if not found:
        some = ", ".join(weight.path for weight in model.trainable_weights[:3])
        raise UsageError(
            f"{key}: {pattern!r} matches no weight of {model.name}; they are called {some}, ..."
        )
    return found


def decay(model: Any, rate: float, l1: float = 0.0, *, pattern: str | None = None) -> None:
    """Adds coupled L2 and L1: `rate * w + l1 * sign(w)` joins the gradient before momentum.

    Keras' `L2(l)` adds `2 * l * w`, so l is half the rate that papers and PyTorch quote.
    """
    for weight in decayed(model, pattern) if rate or l1 else []:
        weight.regularizer = keras.regularizers.L1L2(l1, rate / 2)


def penalize(model: Any, optimizer: Any, optim: Optim) -> None:
    """Puts the configured penalties in place, before the optimizer is built.

    An optimizer that comes with decoupled decay, as Keras' AdamW, keeps to that, at the configured rate.
    """
    coupled = optim.decay != "decoupled" and optimizer.weight_decay is None
    subgradient = 0.0 if optim.l1_proximal else optim.l1
    decay(model, optim.weight_decay if coupled else 0.0, subgradient, pattern=optim.decays)
    if not coupled:
        chosen = {id(weight) for weight in decayed(model, optim.decays)}
        optimizer.weight_decay = optim.weight_decay or None
        if hasattr(
            optimizer, "adam_weight_decay"
        ):  # Keras' Muon has one for what it gives to Adam: convolutions
            optimizer.adam_weight_decay = optimizer.weight_decay
        optimizer.exclude_from_weight_decay(
            [w for w in model.trainable_weights if id(w) not in chosen]
        )


def soft_threshold(weight: Any, threshold: Any) -> tf.Tensor:
    """Returns `sign(w) max(|w| - threshold, 0)`, the proximal step of L1 (Daubechies et al. 2004): exact zeros."""
    return tf.sign(weight) * tf.maximum(tf.abs(weight) - tf.cast(threshold, weight.dtype), 0)
