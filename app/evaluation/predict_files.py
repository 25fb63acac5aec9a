"""Predictions for image files, preprocessed as in training."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from epochal.app.data.decoding import describe_error
from epochal.app.errors import UsageError
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.metrics import probabilities
from epochal.app.evaluation.trained_model import Trained, load_trained
from epochal.app.store.run import Run

_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the model says about one file: every class with its probability, most likely first."""

    path: Path
    ranked: list[tuple[str, float]]

    def line(self, top: int = 3) -> str:
        """`photo.jpg: cat 0.93, dog 0.06, ...`."""
        shown = ", ".join(f"{label} {probability:.4f}" for label, probability in self.ranked[:top])
        return f"{self.path}: {shown}"

    def json(self) -> str:
        """One JSON object."""
        label, probability = self.ranked[0]
        values = {"path": str(self.path), "label": label, "probability": probability}
        return json.dumps({**values, "probabilities": dict(self.ranked)})


def predict_files(
    run: Run, paths: list[Path], refused: Callable[[str], None]
) -> Iterator[Prediction]:
    """Predictions in the order of the files, each as soon as its batch is answered.

    Args:
        refused: is told of each file that cannot be read, or is no image; the others are predicted all the same.

    Raises:
        UsageError: before the first answer, naming a file that is not there; after the last, when any was refused.
    """
    for path in paths:
        if os.path.isdir(path) or not os.path.exists(
            path
        ):  # unlike a Path's own, no name is too long for these
            raise UsageError(
                f"{path}: {'is a folder' if os.path.isdir(path) else 'does not exist'}; give image files"
            )
    trained = load_trained(run)
    bad = 0
    for start in range(0, len(paths), _BATCH):
        read: list[tuple[Path, tf.Tensor]] = []
        for path in paths[start : start + _BATCH]:
            try:
                read.append((path, _prepared(trained, path)))
            except _Unreadable as error:
                bad += 1
                refused(str(error))
        yield from _predictions(trained, read)
    if bad:
        raise UsageError(f"{bad} of {len(paths)} files could not be read as images; leave them out")


class _Unreadable(Exception):
    """Why a file is no image."""


def _predictions(trained: Trained, read: list[tuple[Path, tf.Tensor]]) -> Iterator[Prediction]:
    if not read:
        return
    paths, prepared = zip(*read, strict=True)
    logits, _ = predict_logits(
        trained.model, [(tf.stack(prepared), tf.zeros(len(prepared), tf.int32))]
    )
    for path, row in zip(paths, probabilities(logits), strict=True):
        ranked = sorted(
            zip(trained.preprocessing.classes, row.tolist(), strict=True), key=lambda pair: -pair[1]
        )
        yield Prediction(path=path, ranked=ranked)


def _prepared(trained: Trained, path: Path) -> tf.Tensor:
    try:
        stored = trained.preprocessing.store(tf.constant(path.read_bytes()))
    except OSError as error:
        raise _Unreadable(f"{path}: {error.strerror}") from error
    except tf.errors.OpError as error:
        raise _Unreadable(f"{path}: not a readable image ({describe_error(error)})") from error
    return trained.preprocessing.crop(stored)
