"""Predictions for image files, preprocessed as in training."""

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import tensorflow as tf

from epochal.app.config import ViewsName
from epochal.app.config.given_files import read_given_file
from epochal.app.data.decoding import MAX_BYTES, describe_error
from epochal.app.data.file_inspection import begins_as_image
from epochal.app.data.sources.folder_listing import list_files
from epochal.app.errors import UsageError
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.metrics import probabilities
from epochal.app.evaluation.trained_model import Trained, load_trained, with_views
from epochal.app.store.run import Run
from epochal.app.units import number_of

_BATCH = 64

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The classes of one file with their probabilities, most likely first."""

    path: Path
    ranked: list[tuple[str, float]]

    def line(self, top: int = 3) -> str:
        """Return `photo.jpg: cat 0.93, dog 0.06, ...`."""
        entries = [f"{label} {probability:.4f}" for label, probability in self.ranked[:top]]
        return f"{self.path}: {', '.join(entries)}"

    def json(self) -> str:
        """Return one JSON object."""
        label, probability = self.ranked[0]
        values = {
            "path": str(self.path),
            "label": label,
            "probability": probability,
            "probabilities": dict(self.ranked),
        }
        return json.dumps(values)

    def row(self, classes: Sequence[str]) -> list[str | float]:
        """Return a row of a table with the columns of `header`."""
        label, probability = self.ranked[0]
        probabilities = dict(self.ranked)
        return [str(self.path), label, probability, *(probabilities[name] for name in classes)]


def header(classes: Sequence[str]) -> list[str]:
    """Return the names of a table's columns, of which a class' name can repeat none."""
    return ["path", "label", "probability", *(f"probability of {name}" for name in classes)]


def predict_files(
    run: Run,
    paths: list[Path],
    report_unreadable: Callable[[str], None],
    views: ViewsName | None = None,
) -> Iterator[Prediction]:
    """Predict files in their order, each as soon as its batch is answered.

    Args:
        run: a finished one.
        paths: of files, and of folders, whose images are predicted at any depth.
        report_unreadable: takes the reason for each file that cannot be read, or is no image; the
            others are predicted all the same.
        views: of each image, over which probabilities are averaged (None: the run's own).

    Raises:
        UsageError: before the first answer, naming a file that is not there, or a folder without
            images; after the last, when any could not be read.
    """
    paths = _with_content_of_folders(paths)
    trained = with_views(load_trained(run), views)
    num_unreadable = 0
    for start in range(0, len(paths), _BATCH):
        readable = []
        images = []
        for path in paths[start : start + _BATCH]:
            try:
                image = _read_image(trained, path)
            except _Unreadable as error:
                num_unreadable += 1
                report_unreadable(str(error))
                continue
            readable.append(path)
            images.append(image)
        if images:
            yield from _predict_batch(trained, readable, images)
    if num_unreadable:
        raise UsageError(
            f"{num_unreadable} of {len(paths)} files could not be read as images; leave them out"
        )


class _Unreadable(Exception):
    """The reason why a file is no image."""


def _with_content_of_folders(paths: list[Path]) -> list[Path]:
    """Return the paths with the image files inside it in place of each folder."""
    files = []
    for path in paths:
        # Functions of os.path, because those of a Path raise OSError for a name that is too long.
        if not os.path.exists(path):
            raise UsageError(f"{path}: does not exist; give image files or folders of them")
        if not os.path.isdir(path):
            files.append(path)
            continue
        candidates, _ = list_files(path, path)
        images = [Path(file) for file in candidates if begins_as_image(file)]
        if not images:
            raise UsageError(
                f"{path}: holds no image among {len(candidates):,} files; give another"
            )
        if len(images) < len(candidates):
            others = number_of(len(candidates) - len(images), "file")
            _LOG.info(f"{path}: {others} that are no images are left out")
        files += images
    return files


def _predict_batch(
    trained: Trained, paths: list[Path], images: list[tf.Tensor]
) -> Iterator[Prediction]:
    """Predict the images of some files together."""
    unused_labels = tf.zeros(len(images), tf.int32)
    batch = (tf.stack(images), unused_labels)
    logits, _ = predict_logits(trained.model, [batch], trained.views)
    rows = probabilities(logits).tolist()
    classes = trained.preprocessing.classes
    for path, row in zip(paths, rows, strict=True):
        ranked = list(zip(classes, row, strict=True))
        ranked.sort(key=itemgetter(1), reverse=True)
        yield Prediction(path=path, ranked=ranked)


def _read_image(trained: Trained, path: Path) -> tf.Tensor:
    """Read a file as a stored image."""
    try:
        content = read_given_file(path, MAX_BYTES)
        return trained.preprocessing.store(tf.constant(content))
    except OSError as error:
        raise _Unreadable(f"{path}: {error.strerror}") from error
    except UsageError as error:
        raise _Unreadable(str(error)) from error
    except tf.errors.OpError as error:
        raise _Unreadable(f"{path}: not a readable image ({describe_error(error)})") from error
