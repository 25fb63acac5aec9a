"""Sample images to try a model on: read as evaluation reads them, never augmented."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.augment.draws import Draws
from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.streams import generator
from epochal.app.training.run.setup import Setup


def draw_images(setup: Setup, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw at most `count` training images of as many classes as can be.

    Returns:
        Images, uint8 `[n, S, S, C]`, and labels, int32 `[n]`.
    """
    train = setup.dataset.train
    positions = draw_balanced(train.labels, count, setup.config.seed)
    return read_images(setup, train.subset(positions))


def read_images(setup: Setup, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Read all images of a split, uint8 `[N, S, S, C]`, and their labels, int32 `[N]`."""
    images = []
    labels = []
    dataset = evaluation_batches(split, setup.dataset.preprocessing)
    for batch_images, batch_labels in dataset.as_numpy_iterator():
        images.append(batch_images)
        labels.append(batch_labels)
    return np.concatenate(images), np.concatenate(labels)


def draw_balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draw at most `count` positions at random, of every class as many while its images last.

    Args:
        labels: int32 `[N]`
        count: of positions
        seed: of the run

    Returns:
        Positions in `labels`, int64 `[n]`.
    """
    order = generator(seed, "doctor samples").permutation(len(labels))
    drawn = labels[order]
    grouped = np.argsort(drawn, kind="stable")
    sorted_labels = drawn[grouped]
    first_of_class = np.searchsorted(sorted_labels, sorted_labels)
    # The rank is 0 for the first image of its class, 1 for the second.
    rank = np.empty(len(labels), np.int64)
    rank[grouped] = np.arange(len(labels)) - first_of_class
    by_rank = np.argsort(rank, kind="stable")
    chosen = by_rank[:count]
    return order[chosen]


class CentreCrop(Augmentation):
    """Stands for augmentation, and leaves images as evaluation sees them."""

    def __call__(self, images: tf.Tensor, draws: Draws) -> tf.Tensor:
        """Return the centres, uint8 `[n, s, s, C]`, of images, uint8 `[n, S, S, C]`."""
        return self.centre(images)


def make_plain_batches(setup: Setup, split: Split, batch_size: int) -> TrainingBatches:
    """Return training batches of a split as the run's are made, neither augmented nor mixed."""
    preprocessing = setup.dataset.preprocessing
    augmentation = CentreCrop(
        stored_size=preprocessing.stored_size, image_size=preprocessing.image_size
    )
    return replace(
        setup.batches,
        split=split,
        batch_size=min(batch_size, len(split)),
        augmentation=augmentation,
        position=Position(),
        mixing=None,
    )
