"""What an export must reproduce: the run's own answers for its test images, computed here from its weights."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import Dataset, Split
from epochal.app.errors import StorageError
from epochal.app.evaluation.calibration import calibration_error, temperature
from epochal.app.evaluation.metrics import evaluate_logits, probabilities
from epochal.app.evaluation.run_results import evaluate_split
from epochal.app.export.servable import Servable
from epochal.app.store.run import Run, judged_on
from epochal.app.store.trained_model import Trained

_BLOCK = 256  # images


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Test images as stored, uint8 `[N, S, S, C]`, their true classes `[N]`, and the run's answers for them."""

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray
    classes: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Writes a npy file an array for `proof.py`, which maps them: they may be larger than memory.

        Raises:
            StorageError: when the disk is full.
        """
        with _temporary():
            for name in ("images", "labels", "probabilities", "features", "classes"):
                np.save(folder / f"{name}.npy", np.asarray(getattr(self, name)))


def logits_of(trained: Trained, dataset: Dataset) -> dict[str, np.ndarray]:
    """The run's logits for every validation and test image."""
    splits = {"validation": dataset.validation, "test": dataset.test}
    return {
        name: evaluate_split(trained.model, split, trained.preprocessing)[0]
        for name, split in splits.items()
    }


def calibration(run: Run, dataset: Dataset, logits: dict[str, np.ndarray]) -> dict[str, Any]:
    """The temperature, fitted on validation, and what it does to the calibration error of the split that judges.

    1 where every image was trained on: what a model knows by heart says nothing of its confidence.
    """
    judged = judged_on(run.read_json("result.json"))
    found = 1.0
    labels = {"validation": dataset.validation.labels, "test": dataset.test.labels}
    held_out = _apart(dataset.validation, dataset.train)
    if held_out:
        found = temperature(logits["validation"], labels["validation"])
    errors = [calibration_error(logits[judged] / t, labels[judged]) for t in (1.0, found)]
    names = ("temperature", "fitted_on", "judged_on", "error_before", "error_after")
    return dict(
        zip(names, (found, "validation" if held_out else None, judged, *errors), strict=True)
    )


def evidence(run: Run, dataset: Dataset, logits: np.ndarray, own: Servable) -> Evidence:
    """The run's answers for its test images, which must give the figures that the run has.

    Args:
        logits: the run's, for the test images.
        own: the run's model as it was trained, with the temperature.

    Raises:
        StorageError: when they do not.
    """
    test = evaluate_logits(logits, dataset.test.labels)
    stored = run.read_json("result.json")
    if judged_on(stored) == "test" and (test.count, test.accuracy) != (
        stored["test_count"],
        stored["test_accuracy"],
    ):
        raise StorageError(
            f"{run.folder}: its weights and data give test accuracy {test.accuracy:.4f} on {test.count} images, its "
            f"result.json says {stored['test_accuracy']:.4f} on {stored['test_count']}; restore the data set"
        )
    images = images_of(dataset.test)
    return Evidence(
        images=images,
        labels=dataset.test.labels,
        probabilities=probabilities(logits / own.temperature).astype(np.float32),
        features=_answers(own, images)["features"],
        classes=own.preprocessing.classes,
    )


def images_of(split: Split) -> np.ndarray:
    """The images of a split as stored, mapped from a file that goes with the array: they may be larger than memory.

    Raises:
        StorageError: when the disk is full.
    """
    read = tf.function(split.images.read)
    with _temporary(), tempfile.TemporaryFile() as file:
        for start in range(0, len(split), _BLOCK):
            block = read(tf.constant(split.indices[start : start + _BLOCK])).numpy()
            file.write(block.tobytes())
        file.flush()
        return np.memmap(file, np.uint8, "r", shape=(len(split), *block.shape[1:]))


@contextmanager
def _temporary() -> Iterator[None]:
    """Says where what is written within lies: not in the folder that the user knows of."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"cannot write the test images to {tempfile.gettempdir()}: {reason}; free space there, or set TMPDIR"
        ) from error


def answered(known: Evidence, servable: Servable) -> Evidence:
    """The evidence with another model's answers in place of the run's."""
    answers = _answers(servable, known.images)
    return replace(known, probabilities=answers["probabilities"], features=answers["features"])


def _answers(servable: Servable, images: np.ndarray) -> dict[str, np.ndarray]:
    shape = tf.TensorSpec([None, *images.shape[1:]], tf.uint8)
    body = servable.function()
    answers = tf.function(lambda stored: body(stored), input_signature=[shape], autograph=False)
    blocks = [answers(tf.constant(images[i : i + _BLOCK])) for i in range(0, len(images), _BLOCK)]
    return {name: np.concatenate([block[name].numpy() for block in blocks]) for name in blocks[0]}


def _apart(one: Split, other: Split) -> bool:
    """Whether no image is in both splits."""
    return one.images is not other.images or not np.isin(one.indices, other.indices).any()
