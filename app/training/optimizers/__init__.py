"""Optimizers by name: Keras' own, and ours for variants that Keras lacks."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import keras

from epochal.app.config import Config
from epochal.app.config.checks import pattern_fault
from epochal.app.errors import UsageError, suggestion
from epochal.app.training.optimizers.adam import Adam
from epochal.app.training.optimizers.adaptive_gain import AdaptiveGain
from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.optimizers.global_gain import GlobalGain
from epochal.app.training.optimizers.penalties import WeightPenalty
from epochal.app.training.optimizers.per_weight import (
    build_optimizer,
    has_decoupled_decay,
    is_decoupled,
)
from epochal.app.training.optimizers.scaled import Adagrad, RMSprop
from epochal.app.training.optimizers.schedule_free import ScheduleFreeAdamW
from epochal.app.training.optimizers.sgd import SGD

_OURS = (SGD, Adam, Adagrad, RMSprop, AdaptiveGain, GlobalGain, DiagonalNewton, ScheduleFreeAdamW)
_OUR_NAMES = {optimizer.__name__.lower() for optimizer in _OURS}
_NO_OPTIMIZERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
_RESERVED = {
    "learning_rate",
    "weight_decay",
    "adam_weight_decay",
    "gradient_accumulation_steps",
    "clipnorm",
    "global_clipnorm",
    "clipvalue",
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
}


def _is_steps(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_factor(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and 0 < value < math.inf)


def _is_name(value: Any) -> bool:
    is_text = isinstance(value, str)
    return value is None or (
        is_text and re.fullmatch("[A-Za-z0-9][A-Za-z0-9_]*", value) is not None
    )


def _are_patterns(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list):
        return False
    return all(isinstance(text, str) and pattern_fault(text) is None for text in value)


# Options that Keras takes without a look, and whose defaults do not tell what they are.
_CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "loss_scale_factor": ("a number above 0, or null", _is_factor),
    "ns_steps": ("a whole number from 0", _is_steps),
    "warmup_steps": ("a whole number from 0", _is_steps),
    "name": ("a word of letters, digits and _, or null", _is_name),
    "exclude_layers": ("a list of regular expressions, or null", _are_patterns),
}
_DEFAULTS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}}


def make_optimizer(config: Config, network: Any = None) -> Any:
    """Return the configured optimizer at the configured learning rate.

    Schedules are no matter of the optimizer but of callbacks, and clipping one of the training
    step: stock clipping acts before replicas are summed.

    Args:
        config: of the run
        network: the model whose weights are trained, each of them decayed and slowed as configured
            (None: all alike)

    Raises:
        UsageError: when there is no optimizer of that name, or it refuses one of the options, or a
            regular expression matches no weight.
    """
    optimizer_class, options = chosen_optimizer(config)
    options = {"learning_rate": config.peak_rate, **options}
    try:
        if network is None:
            return optimizer_class(**options)
        return build_optimizer(
            optimizer_class,
            options,
            network,
            config.optim,
        )
    except (TypeError, ValueError) as error:
        raise _refusal(config, str(error)) from error


def weight_penalty(config: Config) -> WeightPenalty:
    """Return the pull on weights that joins the gradient; decoupled decay is the optimizer's."""
    optimizer_class, _ = chosen_optimizer(config)
    optim = config.optim
    decay = optim.weight_decay
    if is_decoupled(optimizer_class, optim):
        decay = 0.0
    l1 = optim.l1
    if optim.l1_proximal:
        l1 = 0.0
    return WeightPenalty(decay=decay, l1=l1, pattern=optim.decays)


def check_decay(config: Config) -> None:
    """Refuse coupled decay for an optimizer that comes with decoupled decay, in a new run.

    A run that was begun with both goes on.

    Raises:
        UsageError: naming both.
    """
    optimizer_class, _ = chosen_optimizer(config)
    name = config.optimizer.lower()
    if config.optim.decay == "coupled" and has_decoupled_decay(optimizer_class):
        raise UsageError(
            f"optim.decay: expected decoupled, which {name} comes with, or null, got 'coupled'"
        )
    if config.optim.l1_proximal and optimizer_class is ScheduleFreeAdamW:
        raise UsageError(
            f"optim.l1_proximal: expected false with {name}, whose weights are averages"
        )


def optimizer_classes() -> dict[str, Any]:
    """Return the class of every optimizer by its name in a configuration."""
    classes: dict[str, Any] = {}
    for name, candidate in vars(keras.optimizers).items():
        if inspect.isclass(candidate) and candidate.__name__ not in _NO_OPTIMIZERS:
            classes[name.lower()] = candidate
    for optimizer_class in _OURS:
        classes[optimizer_class.__name__.lower()] = optimizer_class
    return classes


def chosen_optimizer(config: Config) -> tuple[Any, dict[str, Any]]:
    """Return the class of the configured optimizer and its options; touches no device.

    Raises:
        UsageError: when there is none of that name, or it has not one of the options.
    """
    classes = optimizer_classes()
    name = config.optimizer.lower()
    if name not in classes:
        hint = suggestion(name, list(classes))
        raise UsageError(f"optimizer: unknown {name!r}{hint}; there are {', '.join(classes)}")
    optimizer_class = classes[name]
    if optimizer_class is DiagonalNewton and config.precision == "mixed_float16":
        raise UsageError(
            "precision: diagonalnewton's curvatures leave float16's range; "
            "take mixed_bfloat16 or float32"
        )
    options = config.optim.options
    if options is None:
        options = _DEFAULTS.get(name, {})
    reserved = sorted(_RESERVED & set(options))
    if reserved:
        raise UsageError(
            f"optim.options: {', '.join(reserved)} is not an option here; "
            "use --learning-rate or --optim.*"
        )
    defaults = _defaults_of(optimizer_class)
    unknown = [key for key in options if key not in defaults]
    if unknown:
        hint = suggestion(unknown[0], list(defaults))
        raise _refusal(config, f"it has no {', '.join(unknown)}{hint}")
    converted = {}
    for key, value in options.items():
        converted[key] = _cast(key, defaults[key], value)
    return optimizer_class, converted


def _defaults_of(optimizer_class: Any) -> dict[str, Any]:
    """Return the default of every argument of an optimizer, those of its base classes included."""
    defaults: dict[str, Any] = {}
    for base in reversed(optimizer_class.__mro__):
        if not issubclass(base, keras.optimizers.Optimizer):
            continue
        parameters = inspect.signature(base).parameters
        for name, parameter in parameters.items():
            defaults[name] = parameter.default
    return defaults


def _cast(key: str, default: Any, value: Any) -> Any:
    """Return a value as Keras takes it where the default is a flag or a number: 0.0, but not 0.

    Raises:
        UsageError: for a word where a number is expected, and the like.
    """
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise UsageError(f"optim.options: {key} must be true or false, got {value!r}")
        return value
    if key in _CHECKS:
        expected, is_usable = _CHECKS[key]
        if not is_usable(value):
            raise UsageError(f"optim.options: {key} must be {expected}, got {value!r}")
        return value
    if isinstance(default, int | float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"optim.options: {key} must be a number, got {value!r}")
        if isinstance(default, float):
            return float(value)
    return value


def _refusal(config: Config, reason: str) -> UsageError:
    """Return the error for refused options, which says where they are documented."""
    name = config.optimizer.lower()
    first_line = reason.splitlines()[0]
    reason = first_line[:120].rstrip(".")
    documentation = "keras.optimizers"
    if name in _OUR_NAMES:
        documentation = "docs/optimizers.md"
    return UsageError(
        f"optim.options: {name} refuses {config.optim.options}: {reason}; see {documentation}"
    )
