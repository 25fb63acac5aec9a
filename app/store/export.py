"""Exports: models for other programs, in folders NAME/VERSION/ of a root for each format.

No TensorFlow here.

Only this module knows how the files of an export are called.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from epochal.app.errors import StorageError
from epochal.app.store import files
from epochal.app.store.model_card import ModelCard
from epochal.app.store.record import MALFORMED

# Folders of all exports of a format: TensorFlow Serving wants its own alone in one.
ROOTS = {
    "saved_model": Path("saved_models"),
    "litert": Path("litert_models"),
    "onnx": Path("onnx_models"),
}

_MODEL_FILES = {"saved_model": "saved_model.pb", "litert": "model.tflite", "onnx": "model.onnx"}
_LABELS = "labels.txt"
_CARD = "card.json"
# A SavedModel's folders for files that belong to it, and for files that TensorFlow Serving looks at
# besides.
_ASSETS = "assets"
_EXTRA_ASSETS = "assets.extra"
_SAMPLE_REQUEST = "golden.json"
_WARM_UP_REQUESTS = "tf_serving_warmup_requests"


@dataclass(frozen=True)
class Export:
    """The folder of one version of an exported model, and the files in it.

    Attributes:
        folder: NAME/VERSION, or any other while it is written.
        format: saved_model, litert or onnx.
    """

    folder: Path
    format: str = "saved_model"

    @property
    def model(self) -> Path:
        """What loads the model: the file, or the folder of a SavedModel."""
        if self.format == "saved_model":
            return self.folder
        return self.model_file

    @property
    def model_file(self) -> Path:
        """The file without which there is no model."""
        return self.folder / _MODEL_FILES[self.format]

    @property
    def card_file(self) -> Path:
        """The model's card, JSON."""
        return self._description / _CARD

    @property
    def labels_file(self) -> Path:
        """Names of the classes, one a line, in the order of the probabilities."""
        return self._description / _LABELS

    @property
    def sample_request(self) -> Path:
        """A request for the predict API with its replies, JSON."""
        return self.folder / _EXTRA_ASSETS / _SAMPLE_REQUEST

    @property
    def warm_up_requests(self) -> Path:
        """Requests, as TFRecords, that a server answers before it is ready."""
        return self.folder / _EXTRA_ASSETS / _WARM_UP_REQUESTS

    @property
    def is_published(self) -> bool:
        """Whether the folder has a manifest and a card, as all that this program exports."""
        return (self.folder / files.MANIFEST).exists() and self.card_file.exists()

    def num_bytes(self) -> int:
        """Return the size of all its files."""
        size = 0
        for path in self.folder.rglob("*"):
            if path.is_file():
                size += path.stat().st_size
        return size

    def read_card(self) -> ModelCard:
        """Read the model's card.

        Raises:
            StorageError: it is missing or damaged.
        """
        try:
            return ModelCard.from_dict(json.loads(self.card_file.read_bytes()))
        except (OSError, RecursionError, *MALFORMED) as error:
            raise StorageError(f"{self.card_file} is missing or damaged; export again") from error

    def write_card(self, card: ModelCard) -> None:
        """Replace the model's card, before it is published."""
        _write_card(self.card_file, card)

    def card_values(self) -> dict[str, Any]:
        """Return the card as its file has it, nothing where there is none.

        A served model may not be ours.
        """
        if not self.card_file.exists():
            return {}
        values: dict[str, Any] = json.loads(self.card_file.read_bytes())
        return values

    def labels(self) -> tuple[str, ...]:
        """Return names of the classes, none where there is no such file."""
        if not self.labels_file.exists():
            return ()
        return tuple(self.labels_file.read_text("utf-8").splitlines())

    @property
    def _description(self) -> Path:
        if self.format == "saved_model":
            return self.folder / _ASSETS
        return self.folder


_LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving's numbers are int64
_LONGEST_NUMBER = 100  # digits, zeros before it included


def write_description(folder: Path, classes: Sequence[str], card: ModelCard) -> list[Path]:
    """Write labels and card into a folder; return both files, the assets of a SavedModel."""
    labels_file = folder / _LABELS
    labels_file.write_text("\n".join(classes) + "\n", encoding="utf-8")
    card_file = folder / _CARD
    _write_card(card_file, card)
    return [labels_file, card_file]


def _write_card(path: Path, card: ModelCard) -> None:
    path.write_text(json.dumps(card.to_dict(), indent=2) + "\n", encoding="utf-8")


def next_export(folder: Path, format: str) -> Export:
    """Return the next version of the model in `folder`; remove leftovers of a killed process."""
    files.sweep(folder)
    latest = 0
    for path in folder.glob("*"):
        number = _version_number(path.name)
        if number is not None:
            latest = max(latest, number)
    return Export(folder / str(latest + 1), format)


def served_versions(folder: Path) -> dict[int, Path]:
    """Return the versions of a model that can be served: numbered SavedModels that are complete.

    As TensorFlow Serving reads them, `0001` is version 1; of two folders for one number that
    without zeros counts.
    """
    versions: dict[int, Path] = {}
    try:
        # The longest name first: others replace it.
        for path in sorted(folder.iterdir(), key=lambda path: -len(path.name)):
            number = _version_number(path.name)
            if number is not None and Export(path).model_file.is_file():
                versions[number] = path
    except OSError:  # the folder is gone: what is loaded goes on
        return {}
    return versions


def _version_number(name: str) -> int | None:
    """Return the number that a folder's name is, None where it is none that can be served."""
    if not name.isascii() or not name.isdigit() or len(name) > _LONGEST_NUMBER:
        return None
    number = int(name)
    return number if number <= _LARGEST_VERSION else None
