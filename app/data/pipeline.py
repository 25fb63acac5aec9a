"""Batches for training and evaluation: the number of a step alone says what it holds.

Keras finds the end of a data set of unknown cardinality by one call too many, which trains on
nothing and moves the optimizer's counter; every data set made here states its exact number of
batches.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.augment.draws import Draws, draws, shuffled
from epochal.app.data.augment.mixing import MIXING, Mixing, mixed_labels
from epochal.app.data.dataset import Split, without_tuning
from epochal.app.data.order import Table
from epochal.app.data.preprocessing import ImageShape

_LARGEST_EVALUATED = 256  # images in a batch
_EVALUATED_PIXELS = 2**22  # in a batch
_PREFETCHED = 4  # batches; tf.data's own choice grows to gigabytes where images are large

# From a step, the number of a replica and how many there are to that replica's part of the step's
# batch.
MakeBatch = Callable[[tf.Tensor, tf.Tensor, int], Any]


def _counter() -> tf.Variable:
    return tf.Variable(0, dtype=tf.int64, trainable=False)


@dataclass
class Position:
    """Position of training: epoch, step at which its next iterator begins, order unless shuffled.

    Keras counts the steps of a resumed epoch from its first. Of those that were trained before the
    stop, `steps_to_skip` are still to be passed over.
    """

    table: Table | None = None
    epoch: tf.Variable = field(default_factory=_counter)
    start: tf.Variable = field(default_factory=_counter)
    steps_to_skip: int = 0

    def set(self, epoch: int, start: int = 0) -> None:
        """Move to a step of an epoch; iterators made from now on begin there."""
        self.epoch.assign(epoch)
        self.start.assign(start)
        self.steps_to_skip = start
        if self.table is not None:
            self.table.set(epoch)

    def skip_step(self) -> None:
        """Count a step that was passed over."""
        self.steps_to_skip -= 1


@dataclass(frozen=True, kw_only=True)
class TrainingBatches:
    """Augmented batches (uint8 images, int32 labels) of one epoch, over one or more replicas.

    All are as large as can be alike: their sizes differ by at most one. A last batch of one image
    would ruin a network with batch norm, whose statistics it would be. A replica gets a contiguous
    share of the batch, maybe an empty one. Where images have weights, these follow (float32), and
    then the images' positions in the epoch (int64).

    Args:
        split: of stored images; behind all of them, in the same order, their noisy copies if
            augmentation makes some
        batch_size: the most images in a batch
        augmentation: of what is stored
        seed: of the run
        position: where training stands
        equal: False where all batches but the last are full, as earlier versions made them
        mixing: of each image with the one before it in the batch, and of the first with the last;
            labels are `mixed_labels` then
    """

    split: Split
    batch_size: int
    augmentation: Augmentation
    seed: int
    position: Position
    equal: bool = True
    mixing: Mixing | None = None

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.split) // self.batch_size)

    @property
    def largest(self) -> int:
        """Images in the largest batch."""
        if self.equal:
            return -(-len(self.split) // self.steps)
        return min(self.batch_size, len(self.split))

    @property
    def smallest(self) -> int:
        """Images in the smallest batch."""
        count = len(self.split)
        if self.equal:
            return count // self.steps
        return count - (self.steps - 1) * self.batch_size

    def bounds(self, step: Any) -> tuple[Any, Any]:
        """Return the first and the end position in the epoch of a step's batch; step is int64."""
        count = len(self.split)
        if self.equal:
            first = step * count // self.steps
            end = (step + 1) * count // self.steps
        else:
            first = step * self.batch_size
            end = tf.minimum(first + self.batch_size, count)
        return first, end

    def dataset(self, strategy: Any = None, *, steps: int | None = None) -> Any:
        """Return the epoch at which `position` stands when an iterator is made.

        Args:
            strategy: `tf.distribute.Strategy` over whose replicas a batch is shared out.
            steps: batches of it, from the first on; None is all.
        """
        indices = tf.constant(self.split.indices)
        labels = tf.constant(self.split.labels)
        last = self.steps - 1
        table = self.position.table

        def read(epoch: tf.Tensor, first: tf.Tensor, end: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Return the augmented images at positions from `first` to before `end`, and labels."""
            chosen = self._images_at(epoch, tf.range(first, end))
            stored_at = tf.gather(indices, chosen)
            stored = self.split.images.read(stored_at)
            of_images = self._draws(epoch, (first, end), chosen=chosen, stored_at=stored_at)
            return self.augmentation(stored, of_images), tf.gather(labels, chosen)

        def make_batch(step: tf.Tensor, replica: tf.Tensor, replicas: int) -> tuple[tf.Tensor, ...]:
            # A resumed epoch begins at `start` and keeps its cardinality; nothing past the last
            # step is asked for.
            step = tf.minimum(step + self.position.start, last)
            batch_first, batch_end = self.bounds(step)
            first, end = share(
                batch_first,
                batch_end,
                replica=replica,
                replicas=replicas,
            )
            epoch = self.position.epoch.read_value()
            images, chosen_labels = read(epoch, first, end)
            if self.mixing is not None:
                before = tf.where(first > batch_first, first, batch_end) - 1
                image_before, label_before = read(epoch, before, before + 1)
                partners = tf.concat([image_before, images], axis=0)[:-1]
                partner_labels = tf.concat([label_before, chosen_labels], axis=0)[:-1]
                random = draws(self.seed, epoch, (first, end), stream=MIXING)
                images, shares = self.mixing(images, partners, random)
                chosen_labels = mixed_labels(chosen_labels, partner_labels, shares)
            if table is None or table.weights is None:
                return images, chosen_labels
            positions = tf.range(first, end)
            weights = table.weights.sparse_read(positions)
            return images, chosen_labels, weights, positions

        return _distributed(make_batch, steps or self.steps, strategy)

    def draws_of(self, epoch: int, step: int) -> Draws:
        """Return what the images of a step's global batch draw, and move to that step."""
        self.position.set(epoch, step)
        first, end = self.bounds(tf.constant(step, tf.int64))
        at_epoch = self.position.epoch.read_value()
        chosen = self._images_at(at_epoch, tf.range(first, end))
        stored_at = tf.constant(self.split.indices[chosen.numpy()])
        return self._draws(at_epoch, (first, end), chosen=chosen, stored_at=stored_at)

    def batch(self, epoch: int, step: int) -> dict[str, np.ndarray]:
        """Move to a step and return its global batch once more.

        Returns:
            `images`, `labels` (where images are mixed, `mixed_labels`), `indices` of the images in
            their store and, where images have them, `weights`.
        """
        self.position.set(epoch, step)
        batches = iter(self.dataset(steps=1))
        images, labels, *weights_and_positions = next(batches)
        first, end = self.bounds(tf.constant(step, tf.int64))
        positions = tf.range(first, end)
        chosen = self._images_at(self.position.epoch, positions).numpy()
        arrays = {
            "images": images.numpy(),
            "labels": labels.numpy(),
            "indices": self.split.indices[chosen],
        }
        if weights_and_positions:
            arrays["weights"] = weights_and_positions[0].numpy()
        return arrays

    def _draws(
        self,
        epoch: tf.Tensor,
        positions: tuple[tf.Tensor, tf.Tensor],
        *,
        chosen: tf.Tensor,
        stored_at: tf.Tensor,
    ) -> Draws:
        """Return what images draw between two positions of an epoch.

        Args:
            epoch: int64 scalar.
            positions: the first and the one behind the last.
            chosen: positions of the images in the split, int64 `[n]`.
            stored_at: their numbers in the store, int64 `[n]`.
        """
        # Behind the images of an enlarged split stand their copies, in the same order.
        originals = len(self.split) // (1 + self.augmentation.noisy_copies)
        first, end = positions
        return Draws(
            seed=self.seed,
            epoch=epoch,
            first=first,
            end=end,
            images=stored_at,
            copies=chosen // originals,
        )

    def _images_at(self, epoch: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Return the images at these positions of the epoch, as positions in the split."""
        table = self.position.table
        if table is None:
            return shuffled(
                self.seed,
                epoch,
                positions,
                len(self.split),
            )
        return table.images.sparse_read(positions)


def evaluation_batches(split: Split, shape: ImageShape, strategy: Any = None) -> Any:
    """Return batches of every image of the split once, in order, with labels, never augmented.

    A batch has 256 images, of more than 128 pixels so many fewer that it takes no more memory; the
    last one may be smaller.

    Args:
        split: of stored images.
        shape: cuts what the network sees out of them; a `Preprocessing` is one.
        strategy: `tf.distribute.Strategy` over whose replicas a batch is shared out.
    """

    def read(indices: tf.Tensor) -> tf.Tensor:
        return shape.crop(split.images.read(indices))

    return _evaluated(split, _evaluated_images(shape, 1), read, strategy)


def stored_batches(split: Split, shape: ImageShape, num_views: int) -> Any:
    """Return batches as `evaluation_batches` does, of stored images, uncropped.

    A batch is smaller by the number of views that a network will see of each of its images.
    """
    return _evaluated(split, _evaluated_images(shape, num_views), split.images.read)


def _evaluated_images(shape: ImageShape, num_views: int) -> int:
    fitting = _EVALUATED_PIXELS // (shape.image_size**2 * num_views)
    return max(1, min(_LARGEST_EVALUATED, fitting))


def _evaluated(
    split: Split,
    batch_size: int,
    read: Callable[[tf.Tensor], tf.Tensor],
    strategy: Any = None,
) -> Any:
    """Return batches of images, as `read` has them by their indices, with labels."""
    indices = tf.constant(split.indices)
    labels = tf.constant(split.labels)

    def make_batch(
        step: tf.Tensor, replica: tf.Tensor, replicas: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        first = step * batch_size
        first, end = share(
            first,
            tf.minimum(first + batch_size, len(split)),
            replica=replica,
            replicas=replicas,
        )
        return read(indices[first:end]), labels[first:end]

    num_batches = -(-len(split) // batch_size)
    return _distributed(make_batch, num_batches, strategy)


def share(
    first: tf.Tensor, end: tf.Tensor, *, replica: tf.Tensor, replicas: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return first and end position of a replica's part of a global batch from `first` to `end`.

    With few images, the last parts are empty.
    """
    # Rounded up.
    per_replica = -(-(end - first) // replicas)
    start = first + replica * per_replica
    start = tf.minimum(start, end)
    return start, tf.minimum(start + per_replica, end)


def _distributed(make_batch: MakeBatch, steps: int, strategy: Any) -> Any:
    """Return a data set of the batches of all steps, each replica's part made for it alone."""

    def make_parts(replicas: int) -> tf.data.Dataset:
        def make_part(number: tf.Tensor) -> Any:
            return make_batch(
                number // replicas,
                number % replicas,
                replicas,
            )

        parts = tf.data.Dataset.range(steps * replicas).map(
            tf.autograph.experimental.do_not_convert(make_part),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return without_tuning(parts.prefetch(_PREFETCHED))

    if strategy is None:
        return make_parts(1)
    distributed = strategy.distribute_datasets_from_function(
        lambda context: make_parts(context.num_replicas_in_sync)
    )
    # TensorFlow counts every replica's part; Keras needs the number of global batches, and takes no
    # other class.
    assert distributed.cardinality == steps * strategy.num_replicas_in_sync
    distributed._cardinality = steps
    return distributed
