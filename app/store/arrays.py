"""Named arrays with plain values beside them, as a folder that is whole or absent.

No code is ever stored or run.
"""

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.errors import StorageError
from epochal.app.store import files
from epochal.app.store.record import read_json

ARRAYS = "arrays.npz"
VALUES = "state.json"


def save(folder: Path, arrays: dict[str, np.ndarray], values: dict[str, Any]) -> None:
    """Publish arrays and values as a folder with a manifest.

    Raises:
        StorageError: when they cannot be written; nothing is left behind then.
    """
    archive = io.BytesIO()
    np.savez(archive, allow_pickle=False, **arrays)

    def fill(temporary: Path) -> None:
        (temporary / ARRAYS).write_bytes(archive.getbuffer())
        (temporary / VALUES).write_text(json.dumps(values))

    files.publish(folder, fill)


def load(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read arrays and values of a published folder, after its manifest was verified.

    Raises:
        StorageError: when anything is missing or damaged.
    """
    files.verify(folder)
    path = folder / ARRAYS
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    # What zipfile and NumPy raise for files that they cannot read.
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise StorageError(f"{path} is damaged ({str(error)[:80]}); use another run") from error
    values = read_json(folder / VALUES)
    if not isinstance(values, dict):
        raise StorageError(f"{folder / VALUES} is damaged; use another run")
    return arrays, values


def _check_sizes(path: Path) -> None:
    """Refuse an archive that announces more than its file has, before memory is taken for it.

    Raises:
        ValueError: naming the array.
    """
    largest = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED or member.file_size > largest:
                raise ValueError(f"{member.filename} is compressed or cut off")
            with archive.open(member) as file:
                major, _ = np.lib.format.read_magic(file)
                read_header = np.lib.format.read_array_header_2_0
                if major == 1:
                    read_header = np.lib.format.read_array_header_1_0
                shape, _, dtype = read_header(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > largest:
                raise ValueError(f"{member.filename} is no array of {largest} bytes or less")


def arrays_of(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the variables' values by name."""
    return {name: variable.numpy() for name, variable in variables.items()}


def assign(variables: dict[str, Any], arrays: dict[str, np.ndarray], where: object) -> None:
    """Give every variable its stored value.

    Raises:
        StorageError: when names or shapes differ, before anything is assigned.
    """
    different = sorted(set(variables) ^ set(arrays))
    for name, variable in variables.items():
        if name in arrays and tuple(variable.shape) != arrays[name].shape:
            different.append(name)
    if different:
        raise StorageError(
            f"{where} belongs to another model or optimizer: {different[0]} differs;"
            " use the run's own config"
        )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def all_finite(arrays: dict[str, np.ndarray]) -> bool:
    """Whether no array holds NaN or infinity."""
    for array in arrays.values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
    return True
