"""Fixtures that several files use."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")


@pytest.fixture(scope="module")
def determinism_ends_here() -> Iterator[None]:
    """Undo that `set_up` makes the whole process deterministic, in which Keras compiles nothing with XLA."""
    from tensorflow.python.framework.config import disable_op_determinism

    yield
    disable_op_determinism()
