"""TFRecord files of `tf.train.Example`: an encoded image and its class in features.

By default the features are those of TF-Slim: `image/encoded`, `image/class/label` (a number) and
`image/class/text` (its name). Images are read where they lie in the records.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf.message import DecodeError

from epochal.app.config import Config
from epochal.app.data.dataset import RawDataset, without_tuning
from epochal.app.data.sources.folder_listing import listed, quoted
from epochal.app.data.sources.image_list import Listing, inspect_listing, raw_dataset
from epochal.app.data.sources.labels import check_label
from epochal.app.data.sources.members import Place
from epochal.app.data.sources.record_places import record_places
from epochal.app.data.sources.shard_listing import Sample, list_shards
from epochal.app.errors import UsageError

_IMAGE = "image/encoded"
_LABEL = "image/class/label"
_TEXT = "image/class/text"
_BATCH = 64  # records that are in memory together, fewer where they are large
_BATCH_BYTES = 2**26


def read(config: Config) -> RawDataset:
    """Read the TFRecord files that a configuration names.

    Raises:
        UsageError, BadFiles: as `list_images` and `inspect_listing`.
    """
    scan = inspect_listing(list_images(config), skip_bad=config.data.skip_bad, must_train=True)
    return raw_dataset(scan, config)


def list_images(config: Config, known: Sequence[str] | None = None) -> Listing:
    """List the images of TFRecord files by split and class.

    Args:
        config: names the files and, maybe, the features and a list of classes.
        known: the classes of a trained network, of which the files may have any.

    Raises:
        UsageError: a file is damaged, has other features, or a label is none.
    """
    features = (_IMAGE, _LABEL, _TEXT)
    if config.data.features is not None:
        image, label = config.data.features.split(",")
        features = (image, label, "")
    return list_shards(config, known, partial(samples_of, features=features))


def samples_of(path: Path, features: tuple[str, str, str]) -> Iterator[Sample]:
    """Give the samples of a file in order, its checksums verified.

    Args:
        path: of the file.
        features: names of the image, of its label, and of the label's text ("" is none).

    Raises:
        UsageError: the file is damaged or empty, its features are others, or a label is none.
        OSError: it cannot be read.
    """
    offsets, lengths = record_places(path)
    if not len(offsets):
        raise UsageError(f"{quoted(path)} holds no records; restore it, or remove it")
    batch_size = max(1, min(_BATCH, _BATCH_BYTES // max(1, int(lengths.max()))))
    records = without_tuning(tf.data.TFRecordDataset(os.fspath(path)).batch(batch_size).prefetch(1))
    number = 0
    try:
        for batch in records.as_numpy_iterator():
            for record in batch:
                offset = int(offsets[number])
                assert len(record) == lengths[number]
                yield _sample(path, number, record, features, offset)
                number += 1
    except tf.errors.DataLossError as error:
        raise UsageError(
            f"{quoted(path)} is damaged (record {number:,} or one after it has a wrong checksum); "
            "restore it"
        ) from error


def _sample(
    path: Path, number: int, record: bytes, features: tuple[str, str, str], offset: int
) -> Sample:
    image_key, label_key, text_key = features
    name = f"{number:06}"
    where = f"{quoted(path)}, record {number:,}"
    try:
        feature = tf.train.Example.FromString(record).features.feature
    except DecodeError as error:
        raise UsageError(f"{where}: no tf.train.Example; write its images as such") from error
    image = _value(feature, image_key)
    label = _value(feature, label_key)
    text = _value(feature, text_key)
    if image is None or (label is None and text is None):
        missing = image_key if image is None else label_key
        if number == 0:
            raise UsageError(
                f"{where} has no feature {quoted(missing)}, but {listed(sorted(feature), 20)}; "
                "name those of image and class, as --data.features image,label"
            )
        return Sample(name, fault=f"has no feature {missing}")
    if not isinstance(image, bytes):
        raise UsageError(
            f"{where}: feature {quoted(image_key)} is no encoded image; name that of the image, as "
            "--data.features image,label"
        )
    # Its place in the record: any of the same bytes is the same image.
    place = Place(os.fspath(path), offset + record.find(image), len(image))
    if isinstance(label, bytes):
        text, label = label, None
    if label is not None and (isinstance(label, bool) or not isinstance(label, int)):
        check_label(label, where)
        raise UsageError(f"{where}: expected a whole number as label, got {label!r}; write it so")
    shown = _decoded(text, where) if text else str(label)
    return Sample(name, place, check_label(shown, where), label, is_named=bool(text))


def _value(feature: Any, key: str) -> Any:
    """Return the value of a feature: bytes, a number, a list of several; None where it has none."""
    if key not in feature:
        return None
    kind = feature[key].WhichOneof("kind")
    if kind is None:
        return None
    values = list(getattr(feature[key], kind).value)
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _decoded(text: Any, where: str) -> Any:
    if not isinstance(text, bytes):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: the class is no text in UTF-8; write it so") from error
