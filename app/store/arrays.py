"""Named arrays with plain values beside them, as a folder that is whole or absent.

No code is ever stored or run.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.errors import StorageError
from epochal.app.store import files

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
    with np.load(folder / ARRAYS, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays, json.loads((folder / VALUES).read_text())


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
