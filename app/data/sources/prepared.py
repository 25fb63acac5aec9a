"""Prepared data: images that `epochal data prepare` decoded and scaled, read without decoding."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.data.dataset import CachedImages, Images, RawDataset, ShardImages, Split
from epochal.app.data.open_files import OpenFiles
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources.folder_listing import quoted
from epochal.app.data.sources.shared import choose_shape
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import files
from epochal.app.store.prepared import DIGESTS, PREPARED, PreparedData, labels_file, shard_file
from epochal.app.store.record import read_digests, read_record


def read(config: Config) -> RawDataset:
    """Read the prepared data that a configuration names; every file is compared with its checksum.

    Images, labels and digests are those of the source to the bit, and so are fingerprints.

    Raises:
        StorageError: the folder is damaged or not whole.
        UsageError: the images were prepared in other sizes than the configuration asks for.
    """
    folder = Path(os.path.expanduser(config.dataset))
    files.verify(folder)
    record = read_record(folder / PREPARED, PreparedData)
    shape = _shape(config, record, folder)
    splits = {}
    for name in record.splits:
        splits[name] = _read_split(folder, record, name, shape, config.data.cache_gib)
    return RawDataset(
        splits=splits,
        classes=record.classes,
        shape=shape,
        native_size=record.native_size,
        flippable=record.flippable,
        digests=read_digests(folder / DIGESTS),
        skipped=record.skipped,
    )


def _shape(config: Config, record: PreparedData, folder: Path) -> ImageShape:
    asked = replace(config, image_size=config.image_size or record.image_size)
    shape = choose_shape(asked, record.native_size, record.channels)
    if shape.stored_size != record.stored_size:
        raise UsageError(
            f"{quoted(folder)} has images of {record.stored_size} pixels, prepared for "
            f"--image-size {record.image_size}, but this configuration stores "
            f"{shape.stored_size} pixels; give the settings of then, or prepare {record.source} "
            f"for --image-size {shape.image_size}"
        )
    return shape


def _read_split(
    folder: Path, record: PreparedData, name: str, shape: ImageShape, cache_gib: float
) -> Split:
    split = record.splits[name]
    labels = np.fromfile(labels_file(folder, name), "<i4").astype(np.int32)
    if len(labels) != split.count or labels.min() < 0 or labels.max() >= len(record.classes):
        raise StorageError(f"{folder}: the labels of {name} are damaged; prepare it again")
    paths = [os.fspath(shard_file(folder, name, number)) for number in range(len(split.shards))]
    images: Images
    if split.count * record.image_bytes <= cache_gib * 2**30:
        stored = np.empty((split.count, *shape.stored_shape), np.uint8)
        filled = 0
        for path, count in zip(paths, split.shards, strict=True):
            pixels = np.fromfile(path, np.uint8)
            stored[filled : filled + count] = pixels.reshape(count, *shape.stored_shape)
            filled += count
        with tf.device("CPU:0"):
            images = CachedImages(tf.constant(stored))
    else:
        images = ShardImages(OpenFiles(paths), split.shards[0], shape)
    return Split(images, np.arange(split.count), labels)
