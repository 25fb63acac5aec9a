"""Fixtures that several files use."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


@pytest.fixture(scope="module")
def determinism_ends_here() -> Iterator[None]:
    """`set_up` makes the whole process deterministic, in which Keras compiles nothing with XLA, and sets its precision.

    Other tests want neither.
    """
    import keras
    from tensorflow.python.framework.config import disable_op_determinism

    yield
    disable_op_determinism()
    keras.config.set_dtype_policy("float32")
