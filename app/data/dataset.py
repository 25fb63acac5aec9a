"""What a data set is: images by index, labels, classes, splits and the preprocessing that travels with the model."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from epochal.app.data import decoding as image_ops
from epochal.app.store.data_card import Counts, DataCard

_BLOCK_BYTES = 2**22  # of images that go into memory together


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """All that turns a picture into what the model was trained on; stored with the run and inside the export.

    `stored_size` is the side of decoded images, `image_size` the side after the crop (equal without scale_crop);
    `mean` and `deviation` are per channel, in units of 0..255, from the training split only.
    """

    classes: tuple[str, ...]
    channels: int
    stored_size: int
    image_size: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the model's input."""
        return (self.image_size, self.image_size, self.channels)

    @classmethod
    def from_card(cls, card: DataCard) -> "Preprocessing":
        """Return what the data card of a run says of it."""
        return cls(
            classes=card.classes,
            channels=card.channels,
            stored_size=card.stored_size,
            image_size=card.image_size,
            mean=card.mean,
            deviation=card.deviation,
        )


@dataclass(frozen=True)
class Cached:
    """Images in memory: a uint8 tensor `[N, S, S, C]`, held once and shared by all splits and readers."""

    tensor: tf.Tensor

    def reader(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A graph function from indices `[n]` to uint8 images `[n, S, S, C]`."""
        return lambda indices: tf.gather(self.tensor, indices)


@dataclass(frozen=True)
class Streamed:
    """Images on disk, read and decoded when asked for.

    `read` is a graph function from one index to encoded bytes; decoded images are uint8 `[S, S, C]`.
    """

    read: Callable[[tf.Tensor], tf.Tensor]
    size: int
    channels: int

    def reader(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """A graph function from indices `[n]` to uint8 images `[n, S, S, C]`."""

        shape = tf.TensorSpec((self.size, self.size, self.channels), tf.uint8)
        return lambda indices: tf.map_fn(self.decoded, indices, fn_output_signature=shape)

    def decoded(self, index: tf.Tensor) -> tf.Tensor:
        """The image at one index, uint8 `[S, S, C]`."""
        return image_ops.fit(image_ops.decode(self.read(index), self.channels), self.size)

    def cached(self, count: int) -> "Cached":
        """All `count` images decoded into memory."""
        blocks = tf.data.Dataset.range(count).map(
            self.decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        stored = np.empty((count, self.size, self.size, self.channels), np.uint8)
        several = max(1, _BLOCK_BYTES // (self.size**2 * self.channels))
        filled = 0
        for block in untuned(blocks.batch(several).prefetch(1)).as_numpy_iterator():
            stored[filled : filled + len(block)] = block
            filled += len(block)
        assert filled == count
        with tf.device("CPU:0"):
            return Cached(tf.constant(stored))


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The data set without tf.data's tuning thread, for which the end of an iterator sometimes waits.

    That thread sleeps 10 ms, then twice as long each time, up to a minute; an iterator that is let go while it sleeps
    may wait until it wakes, at the end of every epoch. What it would tune (buffers, parallel calls) is given here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def unreadable(error: tf.errors.OpError) -> str:
    """What to tell the user when TensorFlow could not read or decode an image."""
    return f"an image cannot be read: {image_ops.reason(error)}; restore the data set"


Images = Cached | Streamed


@dataclass(frozen=True)
class Split:
    """Some images of a store: `indices` into `images` (int64), `labels` (int32), both `[N]`."""

    images: Images
    indices: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def subset(self, chosen: np.ndarray) -> "Split":
        """The images at the given positions of this split."""
        return Split(self.images, self.indices[chosen], self.labels[chosen])


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three splits, how to preprocess them, and where they came from; no test image is in another split."""

    name: str
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    flippable: bool
    skipped: tuple[tuple[str, str], ...] = field(default=())

    def fingerprint(self) -> str:
        """SHA-256 over splits, labels and (where they are in memory) the training images: a changed data set shows."""
        digest = hashlib.sha256("\n".join(self.preprocessing.classes).encode())
        for split in (self.train, self.validation, self.test):
            digest.update(split.indices.tobytes() + split.labels.tobytes())
            if isinstance(split.images, Cached):
                digest.update(split.images.tensor.numpy().data)
        return digest.hexdigest()

    def card(self, *, test: bool) -> DataCard:
        """Describe the data for a run's folder; `test` says whether the test split will be evaluated."""
        preprocessing = self.preprocessing
        return DataCard(
            classes=preprocessing.classes,
            channels=preprocessing.channels,
            stored_size=preprocessing.stored_size,
            image_size=preprocessing.image_size,
            mean=preprocessing.mean,
            deviation=preprocessing.deviation,
            fingerprint=self.fingerprint(),
            counts=Counts(
                train=len(self.train), validation=len(self.validation), test=len(self.test)
            ),
            evaluated=("validation", "test") if test else ("validation",),
            skipped=self.skipped,
        )
