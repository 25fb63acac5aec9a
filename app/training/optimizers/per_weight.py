"""Optimizers that treat weights differently: factors on the rate, decay, soft thresholds."""

import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from epochal.app.config import Optim
from epochal.app.training.optimizers.penalties import decayed, matching, soft_threshold
from epochal.app.training.optimizers.schedule_free import ScheduleFreeAdamW
from epochal.models.rewriting import inputs_of


class PerWeight(keras.optimizers.Optimizer):
    """Mixin for an optimizer that gives each weight a rate and a threshold of its own.

    The factor multiplies the rate, and with it the update and decoupled decay: Adam does not feel a
    factor on the gradient. The threshold is rate * l1 / (1 - momentum), with which SGD comes to
    rest at the lasso's answer; under optimizers that scale the gradient it does not feel the scale,
    as decoupled decay does not.

    Args:
        rate_factors: one for each weight that the optimizer is built for, in their order
        thresholds: the l1 of each weight, 0 for none
    """

    def __init__(
        self,
        *args: Any,
        rate_factors: Sequence[float],
        thresholds: Sequence[float],
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.rate_factors = list(rate_factors)
        self.thresholds = list(thresholds)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move a weight at its rate: decoupled decay, update, soft threshold."""
        index = self._get_variable_index(variable)
        rate = learning_rate * self.rate_factors[index]
        if self._decays(index):
            shrinkage = tf.cast(rate * self.weight_decay, variable.dtype)
            variable.assign_sub(variable * shrinkage)
        super().update_step(gradient, variable, rate)
        if self.thresholds[index]:
            threshold = rate * self._gain() * self.thresholds[index]
            variable.assign(soft_threshold(variable, threshold))

    def _decays(self, index: int) -> bool:
        """Tell whether a weight has decoupled decay that the optimizer's update leaves out."""
        if not self.weight_decay or isinstance(self, ScheduleFreeAdamW):
            return False
        return bool(self._use_weight_decay(self._trainable_variables[index]))

    def _gain(self) -> float:
        """Return how many times rate times gradient the momentum moves weights in the end."""
        if getattr(self, "form", None) == "averaging":
            return 1.0
        return 1 / (1 - getattr(self, "momentum", 0.0))

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: `update_step` decays each weight at its own rate."""

    def get_config(self) -> dict[str, Any]:
        """Return the optimizer's configuration, the factors and the thresholds."""
        treatment = {"rate_factors": list(self.rate_factors), "thresholds": list(self.thresholds)}
        return {**super().get_config(), **treatment}


def build_optimizer(
    optimizer_class: Any, options: dict[str, Any], network: Any, optim: Optim
) -> Any:
    """Return an optimizer for a network, with decay, factors and thresholds of its weights.

    Args:
        optimizer_class: Keras' or ours
        options: its arguments, without those of decay
        network: the model whose weights are going to be trained; none of them is frozen yet
        optim: the configured treatment

    Raises:
        UsageError: when a regular expression matches no weight.
    """
    weights = list(network.trainable_weights)
    decaying = set()
    for weight in decayed(network, optim.decays):
        decaying.add(id(weight))
    decoupled = is_decoupled(optimizer_class, optim)
    options = dict(options)
    if decoupled:
        options |= decoupled_decay(optimizer_class, optim.weight_decay)
    factors = rate_factors(network, optim)
    thresholds = []
    kept = []
    for weight in weights:
        threshold = 0.0
        if id(weight) not in decaying:
            kept.append(weight)
        elif optim.l1_proximal:
            threshold = optim.l1
        thresholds.append(threshold)
    if any(thresholds) or set(factors) != {1.0}:
        # Of the same name, for this names the variables in checkpoints.
        optimizer_class = type(
            optimizer_class.__name__,
            (PerWeight, optimizer_class),
            {},
        )
        options |= {"rate_factors": factors, "thresholds": thresholds}
    optimizer = optimizer_class(**options)
    if decoupled:
        optimizer.exclude_from_weight_decay(kept)
    return optimizer


def is_decoupled(optimizer_class: Any, optim: Optim) -> bool:
    """Tell whether weights decay apart from their gradient, as configured or by the optimizer."""
    return optim.decay == "decoupled" or has_decoupled_decay(optimizer_class)


def decoupled_decay(optimizer_class: Any, rate: float) -> dict[str, Any]:
    """Return the arguments that give an optimizer this decoupled decay, and no other."""
    arguments: dict[str, Any] = {"weight_decay": rate}
    # Keras' Muon has another for the weights that it gives to Adam: all but matrices.
    if _usual_decay(optimizer_class, "adam_weight_decay") is not None:
        arguments["adam_weight_decay"] = rate
    return arguments


def has_decoupled_decay(optimizer_class: Any) -> bool:
    """Tell whether an optimizer comes with decoupled decay, as AdamW does."""
    return _usual_decay(optimizer_class, "weight_decay") is not None


def _usual_decay(optimizer_class: Any, argument: str) -> float | None:
    parameter = inspect.signature(optimizer_class).parameters.get(argument)
    return None if parameter is None else parameter.default


def rate_factors(model: Any, optim: Optim) -> list[float]:
    """Return the factor on the rate of every trainable weight.

    It is `rate_growth` for each layer below the top one, times those whose path matches. A layer is
    one with a kernel and what normalises its output; branches side by side count once, at their
    longest. LeCun et al. 1998 (Efficient BackProp, 4.7) let lower layers learn faster (a growth
    above 1), fine-tuning slower.

    Raises:
        UsageError: when a regular expression matches no weight.
    """
    layers_above = _count_layers_above(model)
    factors: dict[int, float] = {}
    for layer in model.layers:
        factor = optim.rate_growth ** layers_above[layer.name]
        for weight in layer.trainable_weights:
            factors[id(weight)] = factor
    rates = optim.rates or {}
    for pattern, factor in rates.items():
        for weight in matching(model, pattern, "optim.rates"):
            factors[id(weight)] *= factor
    return [factors[id(weight)] for weight in model.trainable_weights]


def _count_layers_above(model: Any) -> dict[str, int]:
    """Return how many layers with a kernel stand between each layer and the output, by its name."""
    layers_above: dict[str, int] = defaultdict(int)
    for layer in reversed(model.layers):
        count = layers_above[layer.name]
        if any(weight.name.endswith("kernel") for weight in layer.weights):
            count += 1
        for tensor in inputs_of(layer):
            operation = tensor._keras_history.operation
            source = operation.name
            layers_above[source] = max(layers_above[source], count)
    return layers_above
