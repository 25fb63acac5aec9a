"""What a callback that is not Keras code alone says on another backend."""

import keras


def require_tensorflow(who: str, otherwise: str) -> None:
    """Raises ValueError, naming `who` and what to do otherwise, unless Keras runs on TensorFlow."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ValueError(f"{who} needs the TensorFlow backend, got {backend!r}; {otherwise}.")
