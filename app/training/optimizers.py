"""The optimizer by its Keras name, and coupled weight decay on kernels."""

import inspect
from typing import Any

import keras

from app.config import Config
from app.errors import UsageError

_DEFAULTS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}}


def make_optimizer(config: Config) -> Any:
    """The configured Keras optimizer at the configured learning rate.

    Raises:
        UsageError: when Keras does not know the name or one of the options.
    """
    name = config.optimizer.lower()
    options = _DEFAULTS.get(name, {}) if config.optim.options is None else config.optim.options
    reserved = {
        "learning_rate",
        "weight_decay",
        "clipnorm",
        "global_clipnorm",
        "clipvalue",
        "gradient_accumulation_steps",
    }
    if wrong := sorted(reserved & set(options)):
        raise UsageError(f"optim.options: {', '.join(wrong)} is not an option here; use --learning-rate or --optim.*")
    try:
        # Schedules come from callbacks, clipping too: stock clipping acts before replicas are summed.
        return keras.optimizers.get({"class_name": name, "config": {"learning_rate": config.learning_rate, **options}})
    except (TypeError, ValueError) as error:
        known = sorted(key for key, value in vars(keras.optimizers).items() if inspect.isclass(value))
        reason = str(error).splitlines()[0][:120]
        raise UsageError(
            f"optimizer {config.optimizer!r} with {options}: {reason}; Keras has {', '.join(known)}"
        ) from error


def kernels(model: Any) -> list[Any]:
    """The weights that decay: kernels of layers; not biases, norm scales, gates or quantiser scales (row B15)."""
    return [weight for weight in model.trainable_weights if weight.name.endswith("kernel")]


def decay(model: Any, rate: float) -> None:
    """Adds coupled L2 to the kernels: `rate * w` joins the gradient before momentum.

    Keras' `L2(l)` adds `2 * l * w`, so l is half the rate that papers and PyTorch quote.
    """
    for kernel in kernels(model) if rate else []:
        kernel.regularizer = keras.regularizers.L2(rate / 2)
