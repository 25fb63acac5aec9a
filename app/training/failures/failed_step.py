"""What a run keeps of the step that left the finite numbers, in its folder `nan/`: enough to take that step again."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.data.pipeline import evaluation_batches
from epochal.app.errors import UsageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.store.run import Run
from epochal.app.training.run import state
from epochal.app.training.run.setup import Setup
from epochal.callbacks import NonFiniteError

FOLDER = "nan"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """A step and what it began with.

    `images` are those that the model received, with their `labels` and `weights`, of the "train" or "validation"
    `split`; `indices` number them in the data set. `variables` are the model's before the step, by name as in a
    checkpoint. `quantity` is what was found not to be finite, in epoch and at step `found` (the same step or a later
    one), `spoilt` are the variables that were not finite by then.
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


def keep(setup: Setup, run: Run, error: NonFiniteError) -> bool:
    """Publishes what can be known of the error's step as `nan/`, in place of an earlier one; returns whether it could.

    The step's batch is made once more, for it is a function of seed, epoch and step. Moves the model to the state
    before the step.

    Raises:
        StorageError: when it cannot be written.
    """
    if error.kept is None:
        return False
    named = state.model_variables(setup.model)
    variables = dict(zip(named, error.kept.values, strict=True))
    archive.assign(named, variables, FOLDER)
    split, step, batch = _batch(setup, error.kept.epoch, error.kept.step)
    place = {
        "epoch": error.kept.epoch,
        "step": step,
        "split": split,
        "learning_rate": error.kept.learning_rate,
    }
    weights = (
        {} if setup.model.class_weights is None else {"class_weights": setup.model.class_weights}
    )
    arrays = {**batch, **weights, **variables}
    storage.sweep(run.folder)
    if (run.folder / FOLDER).exists():
        storage.remove_published(run.folder / FOLDER)
    found = {"quantity": error.quantity, "found": [error.epoch, error.step], "spoilt": error.spoilt}
    archive.save(run.folder / FOLDER, arrays, {**place, **found})
    return True


def load(run: Run) -> Evidence:
    """What the run kept.

    Raises:
        UsageError: when there is nothing.
        StorageError: when it is damaged.
    """
    folder = run.folder / FOLDER
    if not folder.exists():
        raise UsageError(
            f"{folder}: nothing to replay: no step of this run is known to have left the finite numbers"
        )
    arrays, values = archive.load(folder)
    names = ("images", "labels", "indices", "weights", "class_weights")
    batch: dict[str, Any] = {name: arrays.pop(name, None) for name in names}
    earlier = {"found": [values["epoch"], values["step"]]}  # versions before did not keep it apart
    return Evidence(variables=arrays, **batch, **earlier | values)


def _batch(setup: Setup, epoch: int, step: int) -> tuple[str, int, dict[str, np.ndarray]]:
    """Split, number and content of the batch of a training step; after the last, of the worst validation batch."""
    if step < setup.batches.steps:
        return "train", step, setup.batches.batch(epoch, step)
    split = setup.dataset.validation
    first = 0
    worst = -1.0
    number_of_worst = 0
    batch = {}
    for number, (images, labels) in enumerate(
        evaluation_batches(split, setup.dataset.preprocessing)
    ):
        losses = setup.model.criterion(labels, setup.model(images, training=False))
        loss = float(tf.reduce_sum(tf.cast(losses, tf.float64)))
        loss = loss if math.isfinite(loss) else math.inf
        if loss > worst:
            worst = loss
            number_of_worst = number
            indices = split.indices[first : first + len(labels)]
            batch = {"images": images.numpy(), "labels": labels.numpy(), "indices": indices}
        first += len(labels)
    return "validation", number_of_worst, batch
