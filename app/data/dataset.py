"""Data sets: images by index, labels, classes, three splits, and the preprocessing they share."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from epochal.app.data.decoding import describe_error
from epochal.app.data.open_files import OpenFiles
from epochal.app.data.preprocessing import ImageShape, Preprocessing
from epochal.app.store.data_card import CopiesAcross, Counts, DataCard

_BLOCK_BYTES = 2**22  # of images that go into memory together


@dataclass(frozen=True)
class CachedImages:
    """Stored images in memory: a uint8 tensor `[N, S, S, C]`, shared by all splits and readers."""

    tensor: tf.Tensor

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """Return the stored images at indices `[n]`, uint8 `[n, S, S, C]`; works in graphs, too."""
        return tf.gather(self.tensor, indices)


@dataclass(frozen=True)
class StreamedImages:
    """Image files on disk, each read and decoded whenever it is asked for.

    Attributes:
        load: function from an index to the bytes of its file, in TensorFlow operations.
        shape: sizes of the stored images.
    """

    load: Callable[[tf.Tensor], tf.Tensor]
    shape: ImageShape

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """Return the stored images at indices `[n]`, uint8 `[n, S, S, C]`; works in graphs, too."""
        spec = tf.TensorSpec(self.shape.stored_shape, tf.uint8)
        return tf.map_fn(self._store, indices, fn_output_signature=spec)

    def cached(self, count: int) -> CachedImages:
        """Decode the first `count` images into memory."""
        stored = self.decoded(0, count)
        with tf.device("CPU:0"):
            return CachedImages(tf.constant(stored))

    def decoded(self, first: int, end: int) -> np.ndarray:
        """Return the images from `first` to before `end`, uint8 `[end - first, S, S, C]`."""
        shape = self.shape.stored_shape
        count = end - first
        stored = np.empty((count, *shape), np.uint8)
        block_size = max(1, _BLOCK_BYTES // math.prod(shape))
        images = tf.data.Dataset.range(first, end).map(
            self._store, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        blocks = without_tuning(images.batch(block_size).prefetch(1))
        filled = 0
        for block in blocks.as_numpy_iterator():
            stored[filled : filled + len(block)] = block
            filled += len(block)
        assert filled == count
        return stored

    def _store(self, index: tf.Tensor) -> tf.Tensor:
        return self.shape.store(self.load(index))


@dataclass(frozen=True)
class ShardImages:
    """Stored images in files that hold their pixels and nothing else, read when asked for.

    Attributes:
        files: of so many images each; the last may have fewer.
        images_per_file: how many.
        shape: sizes of the stored images.
    """

    files: OpenFiles
    images_per_file: int
    shape: ImageShape

    def read(self, indices: tf.Tensor) -> tf.Tensor:
        """Return the stored images at indices `[n]`, uint8 `[n, S, S, C]`; works in graphs, too."""
        images = tf.numpy_function(self._read, [indices], tf.uint8)
        return tf.ensure_shape(images, [indices.shape[0], *self.shape.stored_shape])

    def _read(self, indices: np.ndarray) -> np.ndarray:
        stored = np.empty((len(indices), *self.shape.stored_shape), np.uint8)
        image_bytes = math.prod(self.shape.stored_shape)
        for image, index in zip(stored, indices.tolist(), strict=True):
            file, place = divmod(index, self.images_per_file)
            self.files.read_into(file, place * image_bytes, image)
        return stored


Images = CachedImages | StreamedImages | ShardImages


def without_tuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the data set without tf.data's tuning thread, which may hold up an iterator's end.

    That thread sleeps 10 ms, then twice as long each time, up to a minute; an iterator that is let
    go while it sleeps may wait until it wakes, at the end of every epoch. Buffers and parallel
    calls, which it would tune, are set here.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def unreadable(error: tf.errors.OpError) -> str:
    """Return the line that tells a user that TensorFlow could not read or decode an image."""
    return f"an image cannot be read: {describe_error(error)}; restore the data set"


@dataclass(frozen=True)
class Split:
    """Some of a store's images: `indices` into `images` (int64), `labels` (int32), both `[N]`."""

    images: Images
    indices: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def read(self) -> tf.Tensor:
        """Return all stored images of the split, uint8 `[N, S, S, C]`."""
        return self.images.read(tf.constant(self.indices))

    def subset(self, positions: np.ndarray) -> "Split":
        """Return the images at these positions of the split, as a split."""
        return Split(
            self.images,
            self.indices[positions],
            self.labels[positions],
        )


@dataclass(frozen=True, kw_only=True)
class RawDataset:
    """A data set as its source delivers it, before missing splits are carved off.

    Attributes:
        splits: some of "train", "validation" and "test", or one split of any other name that holds
            all images.
        classes: names of the classes, in the order of the labels.
        shape: sizes of the images.
        native_size: the images' own side before they were scaled; None where they differ.
        flippable: whether its name tells of images that may be mirrored; None where the
            configuration has that name.
        digests: of the content of each file, by its path inside the data set.
        skipped: path and fault of each file that was left out.
        names: of the images of a split, their paths inside the data set, in the order of the
            store; a split whose images have no names is not in it.
        check_unchanged: refuses, by a `UsageError`, files that have changed since they were read.
    """

    splits: dict[str, Split]
    classes: tuple[str, ...]
    shape: ImageShape
    native_size: int | None = None
    flippable: bool | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    check_unchanged: Callable[[], None] = lambda: None

    def name_of(self, split: str, index: int) -> str:
        """Return the name of an image by its index in the store of a split: path or number."""
        if split in self.names:
            return self.names[split][index]
        return f"{split}/{index}"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Three splits and how to preprocess them; no test image is in another split.

    Attributes:
        flippable: whether an image mirrored left to right may still show its class.
        handedness: the share of images that could be told from their mirror images, of which
            `flippable` follows; None where that is known without.
        digests: of the content of each file, by its path inside the data set.
        skipped: path and fault of each file that was left out.
        copies: near duplicates across splits, where they are looked for.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    preprocessing: Preprocessing
    flippable: bool
    handedness: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[tuple[str, str], ...] = ()
    copies: CopiesAcross | None = None

    def fingerprint(self) -> str:
        """Return a SHA-256 over classes, splits, labels and images.

        Of images in memory it covers the decoded pixels, of streamed ones the content of their
        files.
        """
        return self._fingerprint(with_streamed_files=True)

    def has_fingerprint(self, stored: str) -> bool:
        """Return whether a stored fingerprint is that of this data set.

        Those of earlier versions did not cover the files of streamed images.
        """
        if stored == self._fingerprint(with_streamed_files=True):
            return True
        return stored == self._fingerprint(with_streamed_files=False)

    def _fingerprint(self, *, with_streamed_files: bool) -> str:
        is_streamed = False
        names = "\n".join(self.preprocessing.classes)
        digest = hashlib.sha256(names.encode())
        for split in (self.train, self.validation, self.test):
            digest.update(split.indices.tobytes())
            digest.update(split.labels.tobytes())
            images = split.images
            if isinstance(images, CachedImages):
                digest.update(images.tensor.numpy().data)
            else:
                is_streamed = True
        if is_streamed and with_streamed_files:
            for file_digest in self.digests.values():
                digest.update(file_digest.encode())
        return digest.hexdigest()

    def card(self, *, test: bool) -> DataCard:
        """Describe the data for a run's folder; `test`: the test split will be evaluated, too."""
        preprocessing = self.preprocessing
        normalization = preprocessing.normalization
        return DataCard(
            classes=preprocessing.classes,
            channels=preprocessing.channels,
            stored_size=preprocessing.stored_size,
            image_size=preprocessing.image_size,
            mean=preprocessing.mean,
            deviation=preprocessing.deviation,
            normalization=None if normalization is None else normalization.kind,
            fingerprint=self.fingerprint(),
            flippable=self.flippable,
            counts=Counts(
                train=len(self.train), validation=len(self.validation), test=len(self.test)
            ),
            evaluated=("validation", "test") if test else ("validation",),
            skipped=self.skipped,
            copies=self.copies,
        )
