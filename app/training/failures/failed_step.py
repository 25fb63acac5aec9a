"""Failed steps: the one that left the finite numbers, kept so that it can be taken again."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.data.pipeline import evaluation_batches
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.store.run import Run
from epochal.app.training.run import state
from epochal.app.training.run.setup import Setup
from epochal.callbacks import NonFiniteError

_BATCH = ("images", "labels", "indices", "weights", "class_weights")


@dataclass(frozen=True, kw_only=True, eq=False)
class FailedStep:
    """A step and what it began with.

    Args:
        epoch, step: its place, from 0
        split: "train" or "validation", whose images it was on
        learning_rate: of the optimizer
        quantity: that was found not to be finite
        found: epoch and step at which it was found, the same step or a later one
        spoilt: paths of the variables that were not finite by then
        images: the images that the model received
        labels: their labels, of mixed images `mixed_labels`
        indices: their numbers in the data set
        weights: of the images, if any
        class_weights: of the classes, if any
        variables: of the model before the step, by name as in a checkpoint
    """

    epoch: int
    step: int
    split: str
    learning_rate: float
    quantity: str
    found: list[int]
    spoilt: list[str]
    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    weights: np.ndarray | None
    class_weights: np.ndarray | None
    variables: dict[str, np.ndarray]


def keep_step(setup: Setup, run: Run, error: NonFiniteError) -> bool:
    """Publish what is known of the error's step in place of an earlier one; return whether it is.

    The step's batch is made once more, for it is a function of seed, epoch and step. Moves the
    model to the state before the step.

    Raises:
        StorageError: it cannot be written.
    """
    kept = error.kept
    if kept is None:
        return False
    named = state.model_variables(setup.model)
    arrays = dict(zip(named, kept.values, strict=True))
    archive.assign(named, arrays, run.failed_step)
    if kept.step < setup.batches.steps:
        split = "train"
        step = kept.step
        batch = setup.batches.batch(kept.epoch, step)
    else:
        split = "validation"
        step, batch = _worst_validation_batch(setup)
    class_weights = setup.model.objective.class_weights
    if class_weights is not None:
        arrays["class_weights"] = class_weights
    values = {
        "epoch": kept.epoch,
        "step": step,
        "split": split,
        "learning_rate": kept.learning_rate,
        "quantity": error.quantity,
        "found": [error.epoch, error.step],
        "spoilt": error.spoilt,
    }
    storage.sweep(run.folder)
    if run.failed_step.exists():
        storage.remove_published(run.failed_step)
    archive.save(run.failed_step, batch | arrays, values)
    return True


def load_step(run: Run) -> FailedStep:
    """Return the step that the run kept.

    Raises:
        UsageError: it kept none.
        StorageError: it is damaged.
    """
    folder = run.failed_step
    if not folder.exists():
        raise UsageError(
            f"{folder}: nothing to replay: no step of this run is known to have left the finite "
            "numbers"
        )
    variables, values = archive.load(folder)
    batch: dict[str, Any] = {name: variables.pop(name, None) for name in _BATCH}
    try:
        # Earlier versions did not keep apart the steps that failed and at which that was found.
        values.setdefault("found", [values["epoch"], values["step"]])
        return FailedStep(variables=variables, **batch, **values)
    except (KeyError, TypeError) as error:
        raise StorageError(
            f"{folder} is damaged ({error}); let the run fail again to have it anew"
        ) from error


def _worst_validation_batch(setup: Setup) -> tuple[int, dict[str, np.ndarray]]:
    """Return number and content of the validation batch with the largest loss."""
    split = setup.dataset.validation
    batches = evaluation_batches(split, setup.dataset.preprocessing)
    worst_loss = -1.0
    worst_number = 0
    worst_batch = {}
    first = 0
    for number, (images, labels) in enumerate(batches):
        losses = setup.model.objective.loss(labels, setup.model(images, training=False))
        loss = float(tf.reduce_sum(tf.cast(losses, tf.float64)))
        if not math.isfinite(loss):
            loss = math.inf
        if loss > worst_loss:
            worst_loss = loss
            worst_number = number
            worst_batch = {
                "images": images.numpy(),
                "labels": labels.numpy(),
                "indices": split.indices[first : first + len(labels)],
            }
        first += len(labels)
    return worst_number, worst_batch
