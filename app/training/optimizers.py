"""The optimizer by its Keras name, and coupled weight decay on kernels."""

import inspect
from typing import Any

import keras

from app.config import Config
from app.errors import UsageError, suggestion
from app.training.sgd import SGD

_NO_OPTIMIZERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
_RESERVED = {"learning_rate", "weight_decay", "clipnorm", "global_clipnorm", "clipvalue", "gradient_accumulation_steps"}
_DEFAULTS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}}


def make_optimizer(config: Config) -> Any:
    """The configured Keras optimizer at the configured learning rate.

    Raises:
        UsageError: when Keras does not know the name or one of the options.
    """
    kinds = {key.lower(): kind for key, kind in vars(keras.optimizers).items() if _is_optimizer(kind)} | {"sgd": SGD}
    name = config.optimizer.lower()
    if name not in kinds:
        raise UsageError(f"optimizer: unknown {name!r}{suggestion(name, list(kinds))}; Keras has {', '.join(kinds)}")
    options = _DEFAULTS.get(name, {}) if config.optim.options is None else config.optim.options
    if wrong := sorted(_RESERVED & set(options)):
        raise UsageError(f"optim.options: {', '.join(wrong)} is not an option here; use --learning-rate or --optim.*")
    try:
        # Schedules come from callbacks, clipping too: stock clipping acts before replicas are summed.
        return kinds[name](learning_rate=config.learning_rate, **options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"optim.options: {name} refuses {options}: {str(error).splitlines()[0][:120]}; see keras.optimizers"
        ) from error


def _is_optimizer(kind: Any) -> bool:
    """Whether it is an optimizer proper, not the base class or a wrapper around others."""
    return inspect.isclass(kind) and kind.__name__ not in _NO_OPTIMIZERS


def kernels(model: Any) -> list[Any]:
    """The weights that decay: kernels of layers; not biases, norm scales, gates or quantiser scales (row B15)."""
    return [weight for weight in model.trainable_weights if weight.name.endswith("kernel")]


def decay(model: Any, rate: float) -> None:
    """Adds coupled L2 to the kernels: `rate * w` joins the gradient before momentum.

    Keras' `L2(l)` adds `2 * l * w`, so l is half the rate that papers and PyTorch quote.
    """
    for kernel in kernels(model) if rate else []:
        kernel.regularizer = keras.regularizers.L2(rate / 2)
