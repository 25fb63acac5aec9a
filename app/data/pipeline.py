"""Batches for training and evaluation, of known cardinality: the step number alone says what a batch holds.

Keras finds the end of a data set of unknown cardinality by one call too many, which trains on nothing and moves the
optimizer's counter; every data set made here states its exact number of batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.data.augment import Augmentation, centre_crop, draws, shuffled
from epochal.app.data.dataset import Split, untuned
from epochal.app.data.order import Table

_EVALUATED_PIXELS = 2**22  # in a batch
_PREFETCHED = 4  # batches; tf.data's own choice grows to gigabytes where images are large


@dataclass
class Position:
    """Where training stands: the epoch, the step at which its next iterator begins, and its order unless shuffled.

    Keras counts the steps of a resumed epoch from its first: `steps_to_skip` are left that were trained before the stop.
    """

    table: Table | None = None
    epoch: tf.Variable = field(
        default_factory=lambda: tf.Variable(0, dtype=tf.int64, trainable=False)
    )
    start: tf.Variable = field(
        default_factory=lambda: tf.Variable(0, dtype=tf.int64, trainable=False)
    )

    steps_to_skip: int = 0

    def set(self, epoch: int, start: int = 0) -> None:
        """Moves to a step of an epoch; iterators made from now on begin there."""
        self.epoch.assign(epoch)
        self.start.assign(start)
        self.steps_to_skip = start
        if self.table is not None:
            self.table.set(epoch)

    def skip_step(self) -> None:
        """Counts a step that was passed over."""
        self.steps_to_skip -= 1


@dataclass(frozen=True, kw_only=True)
class TrainingBatches:
    """Augmented batches (uint8 images, int32 labels) of one epoch in its order, over one or more replicas.

    The last batch may be smaller. A replica gets a contiguous share of the batch, maybe an empty one. Where images have
    weights, these follow (float32), and then the images' positions in the epoch (int32).
    """

    split: Split
    batch_size: int
    augmentation: Augmentation
    seed: int
    position: Position

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.split) // self.batch_size)

    def dataset(self, strategy: Any = None) -> Any:
        """The epoch at which `position` stands when an iterator is made."""
        read = self.split.images.reader()
        indices = tf.constant(self.split.indices)
        labels = tf.constant(self.split.labels)
        count = len(self.split)
        last = self.steps - 1
        table = self.position.table

        def batch(step: tf.Tensor, replica: tf.Tensor, replicas: int) -> tuple[tf.Tensor, ...]:
            # A resumed epoch begins at `start` and keeps its cardinality; nothing past the last step is asked for.
            step = tf.minimum(step + self.position.start, last)
            first, end = share(step, self.batch_size, count, replica=replica, replicas=replicas)
            epoch = self.position.epoch.read_value()
            positions = tf.range(first, end)
            chosen = self._chosen(epoch, positions)
            images = read(tf.gather(indices, chosen))
            images = self.augmentation(images, draws(self.seed, epoch, (first, end)))
            if table is None or table.weights is None:
                return images, tf.gather(labels, chosen)
            return (
                images,
                tf.gather(labels, chosen),
                table.weights.sparse_read(positions),
                positions,
            )

        return _distributed(batch, self.steps, strategy)

    def batch(self, epoch: int, step: int) -> dict[str, np.ndarray]:
        """The global batch of a step once more: images, labels, the images' indices into their store; moves there.

        Where images have weights, theirs too.
        """
        self.position.set(epoch, step)
        images, labels, *rest = next(iter(self.dataset()))
        first = step * self.batch_size
        chosen = self._chosen(self.position.epoch, tf.range(first, first + len(labels)))
        made = {
            "images": images.numpy(),
            "labels": labels.numpy(),
            "indices": self.split.indices[chosen.numpy()],
        }
        return made | ({"weights": rest[0].numpy()} if rest else {})

    def _chosen(self, epoch: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """The images at so many positions of the epoch."""
        table = self.position.table
        if table is None:
            return shuffled(self.seed, epoch, positions, len(self.split))
        return table.images.sparse_read(positions)


def evaluation_batches(split: Split, image_size: int, strategy: Any = None) -> Any:
    """Every image of the split once, in order, never augmented, with its label; the last batch may be smaller.

    A batch has 256 images, of more than 128 pixels so many fewer that it takes no more memory.
    """
    batch_size = max(1, min(256, _EVALUATED_PIXELS // image_size**2))
    read = split.images.reader()
    indices = tf.constant(split.indices)
    labels = tf.constant(split.labels)

    def batch(step: tf.Tensor, replica: tf.Tensor, replicas: int) -> tuple[tf.Tensor, tf.Tensor]:
        first, end = share(step, batch_size, len(split), replica=replica, replicas=replicas)
        return centre_crop(read(indices[first:end]), image_size), labels[first:end]

    return _distributed(batch, -(-len(split) // batch_size), strategy)


def share(
    step: tf.Tensor, batch_size: int, count: int, *, replica: tf.Tensor, replicas: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """First and end position of a replica's part of a global batch; with few images left, the last parts are empty."""
    first = step * batch_size
    end = tf.minimum(first + batch_size, count)
    each = -(-(end - first) // replicas)
    start = tf.minimum(first + replica * each, end)
    return start, tf.minimum(start + each, end)


def _distributed(
    batch: Callable[[tf.Tensor, tf.Tensor, int], Any], steps: int, strategy: Any
) -> Any:
    """A data set of `batch(step, replica, replicas)`, each replica's part made for it alone."""

    def parts(replicas: int) -> tf.data.Dataset:
        numbers = tf.data.Dataset.range(steps * replicas)
        mapped = numbers.map(
            tf.autograph.experimental.do_not_convert(
                lambda number: batch(number // replicas, number % replicas, replicas)
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return untuned(mapped.prefetch(_PREFETCHED))

    if strategy is None:
        return parts(1)
    distributed = strategy.distribute_datasets_from_function(
        lambda context: parts(context.num_replicas_in_sync)
    )
    # TensorFlow counts every replica's part; Keras needs the number of global batches, and takes no other class.
    assert distributed.cardinality == steps * strategy.num_replicas_in_sync
    distributed._cardinality = steps
    return distributed
