"""The dtype policy of Keras: a setting of the whole process, which a model needs only while it is built."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build layers and compile models with the policy `name`, such as "mixed_float16"; then put back the one before."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
