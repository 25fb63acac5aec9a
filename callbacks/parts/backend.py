"""Demands of a callback on the backend and the model, with messages that say what to do."""

from typing import Any

import keras


def require_tensorflow(name: str, remedy: str) -> None:
    """Raise ValueError, naming the callback and a remedy, unless Keras runs on TensorFlow."""
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(f"{name} needs the TensorFlow backend, got {backend!r}; {remedy}.")


def require_built(model: Any, name: str) -> None:
    """Raise ValueError for a model that has no weights before its first batch."""
    if not model.built:
        raise ValueError(
            f"{name} needs a model that has its weights: "
            f"begin {model.name} with an Input, or build it."
        )


def is_traced(value: Any) -> bool:
    """Return whether a value has no numbers yet: on JAX, within the loop of a recurrent layer."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return isinstance(value, jax.core.Tracer)
