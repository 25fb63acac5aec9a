"""Optimizers by name: Keras' own, and ours where the lectures have a variant that Keras lacks."""

import inspect
from typing import Any

import keras

from epochal.app.config import Config
from epochal.app.errors import UsageError, suggestion
from epochal.app.training.optimizers.adam import Adam
from epochal.app.training.optimizers.adaptive_gain import AdaptiveGain
from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.optimizers.global_gain import GlobalGain
from epochal.app.training.optimizers.scaled import Adagrad, RMSprop
from epochal.app.training.optimizers.schedule_free import ScheduleFreeAdamW
from epochal.app.training.optimizers.sgd import SGD

_OURS = (SGD, Adam, Adagrad, RMSprop, AdaptiveGain, GlobalGain, DiagonalNewton, ScheduleFreeAdamW)
_NO_OPTIMIZERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
_RESERVED = {
    *("learning_rate", "weight_decay", "adam_weight_decay", "gradient_accumulation_steps"),
    *("clipnorm", "global_clipnorm", "clipvalue"),
    *("use_ema", "ema_momentum", "ema_overwrite_frequency"),
}
_DEFAULTS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}}


def make_optimizer(config: Config) -> Any:
    """The configured optimizer at the configured learning rate.

    Raises:
        UsageError: when there is none of that name, or it refuses one of the options.
    """
    kind, options = chosen_optimizer(config)
    try:
        # Schedules come from callbacks, clipping too: stock clipping acts before replicas are summed.
        return kind(learning_rate=config.peak_rate, **options)
    except (TypeError, ValueError) as error:
        raise _refused(config, str(error)) from error


def check_decay(config: Config) -> None:
    """Refuses coupled decay for an optimizer that comes with decoupled decay; a run that was begun with both goes on.

    Raises:
        UsageError: naming both.
    """
    own = inspect.signature(chosen_optimizer(config)[0]).parameters.get("weight_decay")
    if config.optim.decay == "coupled" and own is not None and own.default is not None:
        name = config.optimizer.lower()
        raise UsageError(
            f"optim.decay: expected decoupled, which {name} comes with, or null, got 'coupled'"
        )
    if config.optim.l1_proximal and chosen_optimizer(config)[0] is ScheduleFreeAdamW:
        raise UsageError(
            "optim.l1_proximal: expected false with schedulefreeadamw, whose weights are averages"
        )


def chosen_optimizer(config: Config) -> tuple[Any, dict[str, Any]]:
    """The class of the configured optimizer and its options; touches no device.

    Raises:
        UsageError: when there is none of that name, or it has not one of the options.
    """
    known = {
        key.lower(): kind for key, kind in vars(keras.optimizers).items() if _is_optimizer(kind)
    }
    known |= {kind.__name__.lower(): kind for kind in _OURS}
    name = config.optimizer.lower()
    if name not in known:
        raise UsageError(
            f"optimizer: unknown {name!r}{suggestion(name, list(known))}; there are {', '.join(known)}"
        )
    if known[name] is DiagonalNewton and config.precision == "mixed_float16":
        raise UsageError(
            "precision: diagonalnewton's curvatures leave float16's range; take mixed_bfloat16 or float32"
        )
    options = _DEFAULTS.get(name, {}) if config.optim.options is None else config.optim.options
    if wrong := sorted(_RESERVED & set(options)):
        raise UsageError(
            f"optim.options: {', '.join(wrong)} is not an option here; use --learning-rate or --optim.*"
        )
    bases = [kind for kind in known[name].__mro__ if issubclass(kind, keras.optimizers.Optimizer)]
    accepted = {
        key: one
        for kind in reversed(bases)
        for key, one in inspect.signature(kind).parameters.items()
    }
    if unknown := [key for key in options if key not in accepted]:
        raise _refused(
            config, f"it has no {', '.join(unknown)}{suggestion(unknown[0], list(accepted))}"
        )
    return known[name], {
        key: _like(key, accepted[key].default, value) for key, value in options.items()
    }


def _like(key: str, default: Any, value: Any) -> Any:
    """The value as Keras takes it where the default is a flag or a number: 0.0, but not 0; UsageError for others."""
    expected = {bool: "true or false", int: "a number", float: "a number"}.get(type(default))
    if expected is None:
        return value
    if type(value) not in ((bool,) if type(default) is bool else (int, float)):
        raise UsageError(f"optim.options: {key} must be {expected}, got {value!r}")
    return float(value) if type(default) is float else value


def _refused(config: Config, why: str) -> UsageError:
    name = config.optimizer.lower()
    told = f"{name} refuses {config.optim.options}: {why.splitlines()[0][:120].rstrip('.')}"
    ours = name in [kind.__name__.lower() for kind in _OURS]
    return UsageError(
        f"optim.options: {told}; see {'Optimizers in README.md' if ours else 'keras.optimizers'}"
    )


def _is_optimizer(kind: Any) -> bool:
    """Whether it is an optimizer proper, not the base class or a wrapper around others."""
    return inspect.isclass(kind) and kind.__name__ not in _NO_OPTIMIZERS
