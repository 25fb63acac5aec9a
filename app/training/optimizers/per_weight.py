"""What an optimizer does differently to each weight: a factor on its rate, a soft threshold after its update."""

from collections import defaultdict
from typing import Any

import tensorflow as tf

from epochal.app.config import Optim
from epochal.app.training.optimizers.penalties import decayed, matching, soft_threshold
from epochal.app.training.optimizers.schedule_free import ScheduleFreeAdamW
from epochal.models.rewriting import inputs_of


def set_per_weight(model: Any, optimizer: Any, optim: Optim) -> None:
    """Makes the optimizer use each weight's factor and threshold.

    The factor multiplies the rate, and with it the update and decoupled decay: Adam does not feel a factor on the
    gradient. The threshold is rate * l1 / (1 - momentum), with which SGD comes to rest at the lasso's answer; under
    optimizers that scale the gradient it does not feel the scale, as decoupled decay does not.

    Raises:
        UsageError: when a regular expression matches no weight.
    """
    factors = rate_factors(model, optim)
    shrunk = {id(weight) for weight in decayed(model, optim.decays)} if optim.l1_proximal else set()
    if not shrunk and set(factors) == {1.0}:
        return
    weights = list(
        model.trainable_weights
    )  # as the optimizer counts them, whatever is frozen later
    thresholds = [optim.l1 if id(weight) in shrunk else 0.0 for weight in weights]
    plain = optimizer.update_step
    gain = _gain(optimizer)
    shrinks = optimizer.weight_decay and not isinstance(
        optimizer, ScheduleFreeAdamW
    )  # which does so by itself

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = optimizer._get_variable_index(variable)
        rate = learning_rate * factors[index]
        if shrinks and optimizer._use_weight_decay(weights[index]):
            variable.assign_sub(variable * tf.cast(rate * optimizer.weight_decay, variable.dtype))
        plain(gradient, variable, rate)
        if thresholds[index]:
            variable.assign(soft_threshold(variable, rate * gain * thresholds[index]))

    optimizer.update_step = update_step
    optimizer._apply_weight_decay = lambda variables: None  # done above: it knows no factors


def _gain(optimizer: Any) -> float:
    """How much further than rate times gradient the weights go in the end, for the momentum."""
    averaging = getattr(optimizer, "form", None) == "averaging"
    return 1.0 if averaging else 1 / (1 - getattr(optimizer, "momentum", 0.0))


def rate_factors(model: Any, optim: Optim) -> list[float]:
    """The factor of every trainable weight: `rate_growth` per layer below the top one, times those whose path matches.

    A layer is one with a kernel and what normalises its output; branches side by side count once, at their longest.
    LeCun et al. 1998 (Efficient BackProp, 4.7) let lower layers learn faster (a growth above 1), fine-tuning slower.
    """
    above = _layers_above(model)
    factors: dict[int, float] = {}
    for layer in model.layers:
        factors |= {
            id(weight): optim.rate_growth ** above[layer.name] for weight in layer.trainable_weights
        }
    for pattern, factor in (optim.rates or {}).items():
        for weight in matching(model, pattern, "optim.rates"):
            factors[id(weight)] *= factor
    return [factors[id(weight)] for weight in model.trainable_weights]


def _layers_above(model: Any) -> dict[str, int]:
    """How many layers with a kernel stand between each layer and the output, by its name."""
    above: dict[str, int] = defaultdict(int)
    for layer in reversed(model.layers):
        through = above[layer.name] + any(
            weight.name.endswith("kernel") for weight in layer.weights
        )
        for tensor in inputs_of(layer):
            source = tensor._keras_history.operation.name
            above[source] = max(above[source], through)
    return above
