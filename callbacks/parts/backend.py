"""What a callback that is not Keras code alone says on another backend."""

from typing import Any

import keras


def require_tensorflow(who: str, otherwise: str) -> None:
    """Raises ValueError, naming `who` and what to do otherwise, unless Keras runs on TensorFlow."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ValueError(f"{who} needs the TensorFlow backend, got {backend!r}; {otherwise}.")


def traced(value: Any) -> bool:
    """Whether a value stands for numbers to come: on JAX, what passes through the loop of a recurrent layer."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(value, jax.core.Tracer)
