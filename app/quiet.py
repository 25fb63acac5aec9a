"""Keeps what TensorFlow's C++ writes to the process's stderr, past Python, from the user."""

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow(*, verbose: bool) -> None:
    """Imports TensorFlow and Keras; silent unless `verbose` or the import fails.

    Sets the environment that both read at import: log level, backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if verbose:
        importlib.import_module("keras")
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its warnings are for those who write graphs
    with quietly():
        importlib.import_module("keras")


@contextmanager
def quietly() -> Iterator[None]:
    """Holds everything back that is written to stderr meanwhile, and lets it out if an exception ends it."""
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
