"""Likely wrong labels, by how training images fared: loss, margin and forgetting."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.errors import StorageError
from epochal.app.store import arrays as array_files
from epochal.app.store.files import remove_published


@dataclass(kw_only=True)
class ImageRecord:
    """How each training image fared over the epochs of a run; all arrays are `[N]`.

    Attributes:
        indices: of the images in their store, int64.
        labels: int64.
        epochs: in which the image came, int64.
        losses: sum over these of its cross-entropy in nats, float64.
        margins: sum of the label's logit less the largest other one, float64; over epochs, the area
            under the margin (Pleiss et al. 2020, arXiv:2001.10528).
        forgotten: how often it was wrong after it had been right, int64 (Toneva et al. 2019,
            arXiv:1812.05159).
        right: epochs in which it was right, int64; of none, it was never learned.
        was_right: whether it was so when it last came, bool.
    """

    indices: np.ndarray
    labels: np.ndarray
    epochs: np.ndarray
    losses: np.ndarray
    margins: np.ndarray
    forgotten: np.ndarray
    right: np.ndarray
    was_right: np.ndarray

    @classmethod
    def empty(cls, indices: np.ndarray, labels: np.ndarray) -> "ImageRecord":
        """Return the record of images that have not come yet."""
        count = len(labels)
        return cls(
            indices=indices.astype(np.int64),
            labels=labels.astype(np.int64),
            epochs=np.zeros(count, np.int64),
            losses=np.zeros(count),
            margins=np.zeros(count),
            forgotten=np.zeros(count, np.int64),
            right=np.zeros(count, np.int64),
            was_right=np.zeros(count, bool),
        )

    def learn(self, images: np.ndarray, losses: np.ndarray, margins: np.ndarray) -> None:
        """Take in an epoch: losses and margins, `[P]`, of images, int `[P]`.

        Of an image that came twice the means count.
        """
        count = len(self.labels)
        times = np.bincount(images, minlength=count)
        came = times > 0
        times = np.maximum(times, 1)
        mean_losses = np.bincount(images, losses, count) / times
        mean_margins = np.bincount(images, margins, count) / times
        is_right = mean_margins > 0
        self.epochs = self.epochs + came
        self.losses = self.losses + mean_losses
        self.margins = self.margins + mean_margins
        self.forgotten = self.forgotten + (came & self.was_right & ~is_right)
        self.right = self.right + (came & is_right)
        self.was_right = np.where(came, is_right, self.was_right)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays by name."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, values: Mapping[str, Any]) -> "ImageRecord":
        """Make a record of what `arrays` returned."""
        return cls(**{name: np.array(value) for name, value in values.items()})

    def write(self, folder: Path) -> None:
        """Publish the record as a folder, in place of an earlier one.

        Raises:
            StorageError: it cannot be written.
        """
        if folder.exists():
            remove_published(folder)
        array_files.save(folder, self.arrays(), {})

    @classmethod
    def read(cls, folder: Path) -> "ImageRecord":
        """Read a record.

        Raises:
            StorageError: it is missing or damaged.
        """
        arrays, _ = array_files.load(folder)
        try:
            return cls.from_arrays(arrays)
        except TypeError as error:
            raise StorageError(f"{folder} is damaged ({error}); train the run again") from error


def suspicion(record: ImageRecord) -> np.ndarray:
    """Return how likely each label is wrong next to the others, float64 `[N]` from 0 to 1.

    The mean of an image's ranks by mean margin, by mean loss and by forgetting, of which an image
    that was never learned has most.
    """
    epochs = np.maximum(record.epochs, 1)
    forgetting = np.where(record.right == 0, np.inf, record.forgotten / epochs)
    ranks = [
        _ranks(-record.margins / epochs),
        _ranks(record.losses / epochs),
        _ranks(forgetting),
    ]
    return np.mean(ranks, axis=0)


def mean_margins(record: ImageRecord) -> np.ndarray:
    """Return each image's margin averaged over the epochs in which it came, float64 `[N]`."""
    return record.margins / np.maximum(record.epochs, 1)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values from 0 to 1, of equal ones the mean."""
    from scipy.stats import rankdata

    ranks = rankdata(values) - 1
    return ranks / max(1, len(values) - 1)
