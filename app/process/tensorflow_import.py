"""TensorFlow's import, without what its C++ writes to the process's stderr, past Python."""

import importlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from epochal.app.errors import UsageError

_LOG = logging.getLogger(__name__)
# Keras and TensorFlow import these where they can, for functions that are not used here: that is a
# third of the time.
_UNUSED = ("jax", "matplotlib", "sklearn")
_SETTINGS: dict[str, Any] = {
    "backend": "tensorflow",
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
}
# Variables by which Keras ends training early, or oneDNN computes in fewer bits than configured.
_VARIABLES = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_MAX_EPOCHS": "",
    "KERAS_MAX_STEPS_PER_EPOCH": "",
    "ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
}
# It reads them when it is imported, and fails on what is no number.
_READ_BY_KERAS = ("KERAS_HOME", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")
_REASON = "what a run computes is decided by its configuration alone"


def import_tensorflow(*, verbose: bool) -> None:
    """Import TensorFlow and Keras without their optional packages.

    It is silent unless `verbose`, or the import fails. What Keras computes is decided by a run's
    configuration alone: its own settings file and variables are overruled, with a warning where
    they say something else.

    Sets the environment that both read at import: log level, backend.

    Raises:
        UsageError: this program has imported Keras with another backend.
    """
    for name, value in _differing_settings().items():
        _LOG.warning(f"{name} {value} is not followed: {_REASON}")
    # scikit-learn's; looking whether it may start processes, it warns where /dev/shm is read-only.
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")
    os.environ["KERAS_BACKEND"] = _SETTINGS["backend"]
    os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] = _VARIABLES["ONEDNN_DEFAULT_FPMATH_MODE"]
    if verbose:
        _import_keras()
    else:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.getLogger("tensorflow").setLevel(
            logging.ERROR
        )  # its warnings are for those who write graphs
        with quietly():
            _import_keras()
    _set_keras()


def _differing_settings() -> dict[str, Any]:
    """Return what the user's settings of Keras and oneDNN would change, by the names they have."""
    differing: dict[str, Any] = {}
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    path = Path(home, "keras.json")
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        values = {}  # as Keras takes a file that it cannot read
    if isinstance(values, dict):
        for name, expected in _SETTINGS.items():
            if values.get(name, expected) != expected:
                differing[f"{path}: {name}"] = values[name]
    for name, expected_text in _VARIABLES.items():
        value = os.environ.get(name, "")
        if value.upper() not in ("", expected_text.upper()):
            differing[name] = value
    return differing


def _import_keras() -> None:
    absent: dict[str, Any] = {name: None for name in _UNUSED if name not in sys.modules}
    sys.modules.update(
        absent
    )  # None: the import system's own way to say that there is no such module
    # A folder that cannot be: Keras neither reads its settings there, nor writes any. Where a home
    # is read-only it would read those that anyone can put into /tmp.
    kept = {name: os.environ.pop(name) for name in _READ_BY_KERAS if name in os.environ}
    os.environ["KERAS_HOME"] = os.devnull
    # Of a test library that TensorFlow imports: it asks for a writable folder, and never uses it.
    test_folder = os.environ.setdefault("TEST_TMPDIR", os.devnull)
    try:
        importlib.import_module("keras")
    finally:
        for name in absent:
            del sys.modules[name]
        del os.environ["KERAS_HOME"]
        if test_folder == os.devnull:
            del os.environ["TEST_TMPDIR"]
        os.environ.update(kept)


def _set_keras() -> None:
    """Set what a program that imported Keras before, or a variable, may have set otherwise."""
    import keras

    backend = keras.config.backend()
    if backend != _SETTINGS["backend"]:
        raise UsageError(
            f"Keras was imported with the backend {backend!r}, expected 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow before it is imported"
        )
    keras.config.set_image_data_format(_SETTINGS["image_data_format"])
    keras.config.set_floatx(_SETTINGS["floatx"])
    keras.config.set_epsilon(_SETTINGS["epsilon"])
    # They would end training before its last epoch or step.
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back what is written to stderr meanwhile, and let it out if an exception ends it."""
    sys.stderr.flush()
    kept = os.dup(2)
    # In memory where the system can: no folder need be writable for that.
    if hasattr(os, "memfd_create"):
        file: Any = open(os.memfd_create("stderr"), "w+b")  # noqa: SIM115 closed below
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 likewise
    with file as captured:
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
