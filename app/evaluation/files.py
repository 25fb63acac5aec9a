"""Predictions for image files, preprocessed as in training."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from app.data import images
from app.data.augment import centre_crop
from app.errors import UsageError
from app.evaluation.metrics import probabilities
from app.evaluation.predict import predict_logits
from app.runs import Run
from app.trained import Trained, load_trained

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


def predict_files(run: Run, paths: list[Path]) -> Iterator[Prediction]:
    """Predictions in the order of the files; every file is read before the first is predicted.

    Raises:
        UsageError: naming the first file that is missing or no image.
    """
    encoded = [_read(path) for path in paths]
    trained = load_trained(run)
    for start in range(0, len(paths), _BATCH):
        chosen = slice(start, start + _BATCH)
        batch = tf.stack(
            [_prepared(trained, data, path) for data, path in zip(encoded[chosen], paths[chosen], strict=True)]
        )
        logits, _ = predict_logits(trained.model, [(batch, tf.zeros(len(batch), tf.int32))])
        for path, row in zip(paths[chosen], probabilities(logits), strict=True):
            ranked = sorted(zip(trained.preprocessing.classes, row.tolist(), strict=True), key=lambda pair: -pair[1])
            yield Prediction(path=path, ranked=ranked)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give image files") from error


def _prepared(trained: Trained, encoded: bytes, path: Path) -> tf.Tensor:
    preprocessing = trained.preprocessing
    try:
        image = images.decode(tf.constant(encoded), preprocessing.channels)
    except tf.errors.OpError as error:
        raise UsageError(f"{path}: not a readable image ({images.reason(error)}); leave it out") from error
    return centre_crop(images.fit(image, preprocessing.stored_size), preprocessing.image_size)
