"""What a callback says of another backend, or of a model that is not made yet."""

from typing import Any

import keras


def require_tensorflow(who: str, otherwise: str) -> None:
    """Raises ValueError, naming `who` and what to do otherwise, unless Keras runs on TensorFlow."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ValueError(f"{who} needs the TensorFlow backend, got {backend!r}; {otherwise}.")


def require_built(model: Any, who: str) -> None:
    """Raises ValueError for a model whose weights are made by its first batch: `who` would not see them."""
    if not model.built:
        raise ValueError(
            f"{who} needs a model that has its weights: begin {model.name} with an Input, or build it."
        )


def traced(value: Any) -> bool:
    """Whether a value stands for numbers to come: on JAX, what passes through the loop of a recurrent layer."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(value, jax.core.Tracer)
