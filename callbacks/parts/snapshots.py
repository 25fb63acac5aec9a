"""A folder of weights with a list of them, every file whole or absent."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from epochal.callbacks.parts.files import write_whole

MANIFEST = "best_weights.json"


class Snapshots:
    """The files of `BestWeights`, which describes them; an entry of the list is a mapping with at least `file`."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    def has(self, entry: dict[str, Any]) -> bool:
        """Whether the file of an entry is there."""
        return (self.folder / entry["file"]).exists()

    def listed(self) -> list[dict[str, Any]]:
        """Returns the entries whose files are there, best first."""
        path = self.folder / MANIFEST
        entries = json.loads(path.read_bytes())["kept"] if path.exists() else []
        return [entry for entry in entries if self.has(entry)]

    def write(
        self, model: Any, weights: list[np.ndarray], file: str, kept: list[dict[str, Any]]
    ) -> None:
        """Adds `weights` of `model` as `file`, and deletes what was listed but is not in `kept`.

        Raises:
            FileExistsError: for a file that is not listed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        old = self.listed()
        names = [entry["file"] for entry in kept]
        if (self.folder / file).exists() and file not in [entry["file"] for entry in old]:
            raise FileExistsError(
                f"{self.folder / file} was not written by BestWeights; choose another folder."
            )
        lost = [entry for entry in old if entry["file"] not in names]
        # Listed before it is written and until it is deleted: after any crash, what is ours is known to be.
        self._list([*kept, *lost])
        data = io.BytesIO()
        np.savez(
            data,
            allow_pickle=False,
            **dict(zip(_named(model), map(_storable, weights), strict=True)),
        )
        write_whole(self.folder / file, data.getvalue())
        for entry in lost:
            (self.folder / entry["file"]).unlink(missing_ok=True)
        self._list(kept)

    def load(self, model: Any, rank: int) -> dict[str, Any]:
        """Gives `model` the weights of that place in the list, from 1; returns the entry.

        Raises:
            ValueError: no such rank, or the weights are of another model; nothing is assigned then.
        """
        entries = self.listed()
        if not 1 <= rank <= len(entries):
            raise ValueError(
                f"rank must be from 1 to {len(entries)}, the epochs kept in {self.folder}; got {rank}."
            )
        entry = entries[rank - 1]
        named = _named(model)
        with np.load(self.folder / entry["file"], allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        # Layers without a name of their own have another one in every model that is built.
        places = [
            {_place(name): tuple(each.shape) for name, each in one.items()}
            for one in (found, named)
        ]
        if places[0] != places[1]:
            raise ValueError(
                f"{self.folder / entry['file']} holds weights of another model than {model.name!r}."
            )
        for weight, array in zip(named.values(), found.values(), strict=True):
            weight.assign(array)
        return entry

    def _list(self, entries: list[dict[str, Any]]) -> None:
        write_whole(self.folder / MANIFEST, json.dumps({"kept": entries}, indent=1).encode())


def _named(model: Any) -> dict[str, Any]:
    return {f"{i:04d}/{weight.path}": weight for i, weight in enumerate(model.weights)}


def _place(name: str) -> tuple[str, str]:
    return name.partition("/")[0], name.rpartition("/")[2]


def _storable(array: np.ndarray) -> np.ndarray:
    """As float32 what NumPy has no type for: bfloat16."""
    return array.astype(np.float32) if array.dtype.kind == "V" else array
