"""Imports TensorFlow without its banner lines, which it writes to the process's stderr, past Python."""

import importlib
import os
import sys
import tempfile


def import_tensorflow(*, verbose: bool) -> None:
    """Imports TensorFlow and Keras; silent unless `verbose` or the import fails.

    Sets the environment that both read at import: log level, backend.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if verbose:
        importlib.import_module("keras")
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            importlib.import_module("keras")
        except Exception:
            captured.seek(0)
            os.write(kept, captured.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
