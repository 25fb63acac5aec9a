"""The dtype policy of Keras: a setting of the process that a model needs while it is built."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build models with a policy such as "mixed_float16"; then put back the one before."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
