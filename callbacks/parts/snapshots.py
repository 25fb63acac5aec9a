"""A folder of weights with a list of them, every file whole or absent."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from epochal.callbacks.parts.files import write_whole

LIST = "best_weights.json"


class Snapshots:
    """The files of `BestWeights`, which describes them.

    An entry of the list is a mapping with at least `file`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def has(self, entry: dict[str, Any]) -> bool:
        """Return whether the file of an entry is there."""
        return (self.folder / entry["file"]).exists()

    def read_list(self) -> list[dict[str, Any]]:
        """Return the entries whose files are there, best first."""
        path = self.folder / LIST
        if not path.exists():
            return []
        entries = json.loads(path.read_bytes())["kept"]
        return [entry for entry in entries if self.has(entry)]

    def write(
        self, model: Any, weights: list[np.ndarray], file: str, kept: list[dict[str, Any]]
    ) -> None:
        """Add `weights` of `model` as `file`, and delete what was listed but is not in `kept`.

        Raises:
            FileExistsError: for a file that is not listed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / file
        listed = self.read_list()
        listed_files = [entry["file"] for entry in listed]
        if path.exists() and file not in listed_files:
            raise FileExistsError(f"{path} was not written by BestWeights; choose another folder.")
        kept_files = [entry["file"] for entry in kept]
        dropped = [entry for entry in listed if entry["file"] not in kept_files]
        # Listed before it is written and until it is deleted: after any crash, what is ours is
        # known to be.
        self._write_list([*kept, *dropped])
        arrays = {}
        for name, array in zip(
            _named_weights(model),
            weights,
            strict=True,
        ):
            # NumPy has no type for bfloat16.
            if array.dtype.kind == "V":
                array = array.astype(np.float32)
            arrays[name] = array
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **arrays)
        write_whole(path, data.getvalue())
        for entry in dropped:
            (self.folder / entry["file"]).unlink(missing_ok=True)
        self._write_list(kept)

    def load(self, model: Any, rank: int) -> dict[str, Any]:
        """Give `model` the weights of that place in the list, from 1; return the entry.

        Raises:
            ValueError: no such rank, or the weights are of another model; nothing is assigned then.
        """
        entries = self.read_list()
        if not 1 <= rank <= len(entries):
            raise ValueError(
                f"rank must be from 1 to {len(entries)}, the epochs kept in {self.folder}; "
                f"got {rank}."
            )
        entry = entries[rank - 1]
        path = self.folder / entry["file"]
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        weights = _named_weights(model)
        if _shapes(arrays) != _shapes(weights):
            raise ValueError(f"{path} holds weights of another model than {model.name!r}.")
        for weight, array in zip(
            weights.values(),
            arrays.values(),
            strict=True,
        ):
            weight.assign(array)
        return entry

    def _write_list(self, entries: list[dict[str, Any]]) -> None:
        write_whole(self.folder / LIST, json.dumps({"kept": entries}, indent=1).encode())


def _named_weights(model: Any) -> dict[str, Any]:
    return {f"{place:04d}/{weight.path}": weight for place, weight in enumerate(model.weights)}


def _shapes(arrays: dict[str, Any]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return shapes by place and last name alone.

    A layer without a name has another one in every model.
    """
    shapes = {}
    for name, array in arrays.items():
        place, _, _ = name.partition("/")
        _, _, weight = name.rpartition("/")
        shapes[place, weight] = tuple(array.shape)
    return shapes
