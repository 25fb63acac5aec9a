"""Images to try a model on: read as evaluation reads them, never augmented."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from epochal.app.data.augment import Augmentation
from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.training.run.setup import Setup


def some_images(setup: Setup, count: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `count` training images, uint8 `[n, S, S, C]`, of as many classes as can be, and their labels `[n]`."""
    split = setup.dataset.train
    return images_of(setup, split.subset(spread(split.labels, count, setup.config.seed)))


def images_of(setup: Setup, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """All images of a split in memory, uint8 `[N, S, S, C]`, and their labels, int32 `[N]`."""
    batches = list(evaluation_batches(split, setup.dataset.preprocessing).as_numpy_iterator())
    return np.concatenate([images for images, _ in batches]), np.concatenate(
        [labels for _, labels in batches]
    )


def spread(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """At most `count` positions in random order, of every class as many as of any other while they last."""
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = labels[order]
    grouped = np.argsort(drawn, kind="stable")
    turn = np.empty(len(labels), np.int64)  # the first of its class, the second, ...
    turn[grouped] = np.arange(len(labels)) - np.searchsorted(drawn[grouped], drawn[grouped])
    return order[np.argsort(turn, kind="stable")[:count]]


class Unchanged(Augmentation):
    """Leaves images as evaluation sees them."""

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """uint8 `[n, S, S, C]` -> its centre, uint8 `[n, s, s, C]`."""
        return self.centre(images)


def plain_batches(setup: Setup, split: Split, batch_size: int) -> TrainingBatches:
    """Training batches of a split as the run's own would be, but not augmented."""
    preprocessing = setup.dataset.preprocessing
    return replace(
        setup.batches,
        split=split,
        batch_size=min(batch_size, len(split)),
        augmentation=Unchanged(
            stored_size=preprocessing.stored_size, image_size=preprocessing.image_size
        ),
        position=Position(),
    )
