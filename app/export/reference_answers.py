"""Reference answers: those of a run for its test images, which an export must reproduce."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import Dataset, Split
from epochal.app.errors import StorageError
from epochal.app.evaluation.calibration import calibration_error, temperature
from epochal.app.evaluation.metrics import evaluate_logits, probabilities
from epochal.app.evaluation.run_results import evaluate_split
from epochal.app.evaluation.trained_model import Trained
from epochal.app.export.inference_model import InferenceModel
from epochal.app.store.model_card import Calibration
from epochal.app.store.run import Run

_BLOCK = 256  # images


@dataclass(frozen=True, kw_only=True)
class ReferenceAnswers:
    """Test images and the answers that a model must give for them.

    Attributes:
        images: stored images, uint8 `[N, S, S, C]`.
        labels: their true classes `[N]`.
        probabilities: float32 `[N, classes]`.
        features: what the last layer sees, float32 `[N, F]`.
        classes: names, in the order of the probabilities.
    """

    images: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    features: np.ndarray
    classes: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of the images whose likeliest class is the true one."""
        return float(np.mean(self.probabilities.argmax(axis=1) == self.labels))

    def save(self, folder: Path) -> None:
        """Write a npy file an array for `parity_program.py`, which maps what memory may not hold.

        Raises:
            StorageError: the disk is full.
        """
        arrays = {
            "images": self.images,
            "labels": self.labels,
            "probabilities": self.probabilities,
            "features": self.features,
            "classes": np.asarray(self.classes),
        }
        with _temporary_files():
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array)


def predict_split_logits(trained: Trained, dataset: Dataset) -> dict[str, np.ndarray]:
    """Return the run's logits for every image of the validation and the test split."""
    logits = {}
    for name, split in (("validation", dataset.validation), ("test", dataset.test)):
        logits[name], _ = evaluate_split(
            trained.model,
            split,
            trained.views,
        )
    return logits


def calibrate(run: Run, dataset: Dataset, logits: dict[str, np.ndarray]) -> Calibration:
    """Fit the temperature on validation; return it with errors of the split that judges.

    It is 1 where every image was trained on: what a model knows by heart says nothing of its
    confidence.
    """
    judge = run.result().judged_on
    labels = {"validation": dataset.validation.labels, "test": dataset.test.labels}
    fitted_temperature = 1.0
    fitted_on = None
    if _are_disjoint(dataset.validation, dataset.train):
        fitted_temperature = temperature(logits["validation"], labels["validation"])
        fitted_on = "validation"
    return Calibration(
        temperature=fitted_temperature,
        fitted_on=fitted_on,
        judged_on=judge,
        error_before=calibration_error(logits[judge] / 1.0, labels[judge]),
        error_after=calibration_error(logits[judge] / fitted_temperature, labels[judge]),
    )


def check_figures(run: Run, dataset: Dataset, logits: np.ndarray) -> None:
    """Refuse logits of the test images that do not give the figures that the run has.

    Raises:
        StorageError: they do not.
    """
    test = evaluate_logits(logits, dataset.test.labels)
    stored = run.result().test
    if stored is not None and (test.count, test.accuracy) != (stored.count, stored.accuracy):
        raise StorageError(
            f"{run.folder}: its weights and data give test accuracy {test.accuracy:.4f} "
            f"on {test.count} images, its result.json says {stored.accuracy:.4f} "
            f"on {stored.count}; restore the data set"
        )


def compute_reference(
    dataset: Dataset,
    logits: np.ndarray,
    model: InferenceModel,
    *,
    images: np.ndarray | None = None,
) -> ReferenceAnswers:
    """Return the run's answers for its test images.

    Args:
        dataset: that of the run.
        logits: the run's, for the test images.
        model: the run's as it was trained, with the temperature.
        images: the stored test images, where they were read before.
    """
    if images is None:
        images = map_images(dataset.test)
    answers = _answer_all(model, images)
    calibrated = probabilities(logits / model.temperature)
    return ReferenceAnswers(
        images=images,
        labels=dataset.test.labels,
        probabilities=calibrated.astype(np.float32),
        features=answers["features"],
        classes=model.preprocessing.classes,
    )


def map_images(split: Split) -> np.ndarray:
    """Return a split's stored images, which may exceed memory, mapped from a temporary file.

    Raises:
        StorageError: the disk is full.
    """
    read = tf.function(split.images.read)
    with _temporary_files(), tempfile.TemporaryFile() as file:
        for start in range(0, len(split), _BLOCK):
            end = start + _BLOCK
            indices = tf.constant(split.indices[start:end])
            block = read(indices).numpy()
            file.write(block.tobytes())
        file.flush()
        shape = (len(split), *block.shape[1:])
        return np.memmap(
            file,
            np.uint8,
            "r",
            shape=shape,
        )


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Say where files of the body lie if the disk is full: in no folder that the user knows of."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(
            f"cannot write the test images to {tempfile.tempdir or 'a temporary file'}: {reason}; "
            "free space there, or set TMPDIR"
        ) from error


def with_answers_of(reference: ReferenceAnswers, model: InferenceModel) -> ReferenceAnswers:
    """Return the reference with another model's answers in place of the run's."""
    answers = _answer_all(model, reference.images)
    return replace(
        reference,
        probabilities=answers["probabilities"],
        features=answers["features"],
    )


def _answer_all(model: InferenceModel, images: np.ndarray) -> dict[str, np.ndarray]:
    body = model.function()
    shape = [None, *images.shape[1:]]
    spec = tf.TensorSpec(shape, tf.uint8)
    answer = tf.function(
        lambda stored: body(stored),
        input_signature=[spec],
        autograph=False,
    )
    blocks: dict[str, list[np.ndarray]] = {"probabilities": [], "features": []}
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        outputs = answer(tf.constant(block))
        for name, parts in blocks.items():
            parts.append(outputs[name].numpy())
    answers = {}
    for name, parts in blocks.items():
        answers[name] = np.concatenate(parts)
    return answers


def _are_disjoint(first: Split, second: Split) -> bool:
    """Return whether no image is in both splits."""
    if first.images is not second.images:
        return True
    return not bool(np.isin(first.indices, second.indices).any())
