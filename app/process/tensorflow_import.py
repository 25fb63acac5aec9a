"""TensorFlow's import, without what its C++ writes to the process's stderr, past Python."""

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Keras and TensorFlow import these where they can, for functions that are not used here: that is a
# third of the time.
_UNUSED = ("jax", "matplotlib", "sklearn")


def import_tensorflow(*, verbose: bool) -> None:
    """Import TensorFlow and Keras without their optional packages.

    It is silent unless `verbose`, or the import fails.

    Sets the environment that both read at import: log level, backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if verbose:
        _import_keras()
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # its warnings are for those who write graphs
    with quietly():
        _import_keras()


def _import_keras() -> None:
    absent: dict[str, Any] = {name: None for name in _UNUSED if name not in sys.modules}
    sys.modules.update(
        absent
    )  # None: the import system's own way to say that there is no such module
    try:
        importlib.import_module("keras")
    finally:
        for name in absent:
            del sys.modules[name]


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back what is written to stderr meanwhile, and let it out if an exception ends it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except Exception:
            captured.seek(0)
            os.write(kept, captured.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
