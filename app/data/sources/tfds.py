"""Prepared tensorflow-datasets, read as records: random access by index, so order is a pure function of position."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from epochal.app.errors import UsageError, suggestion

_HEADER = 12
_FOOTER = 4  # bytes around each record: length and its checksum; the data's checksum


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One prepared version of a data set on disk: its folder holds `dataset_info.json`."""

    name: str
    folder: Path


def find(name: str, data_dir: str | None) -> Prepared:
    """Finds the newest prepared version of `name`, without TensorFlow and without network.

    Raises:
        UsageError: saying how to prepare it, or which name was meant.
    """
    root = Path(
        data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    ).expanduser()
    base = root.joinpath(*name.split("/"))
    infos = [
        *base.glob("dataset_info.json"),
        *base.glob("*/dataset_info.json"),
        *base.glob("*/*/dataset_info.json"),
    ]
    if infos:
        newest = max(
            infos, key=lambda info: (info.parent.parent == base, _version(info.parent.name))
        )
        return Prepared(name=name, folder=newest.parent)
    raise UsageError(_advice(name, root))


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else ()


def _advice(name: str, root: Path) -> str:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0] not in known:
        meant = suggestion(name, [*known, "digits"])
        return f"dataset {name!r}: neither a folder nor a TFDS name{meant}; give digits, a TFDS name or a folder"
    return f"dataset {name!r} is not prepared under {root}; with network, run: tfds build {name} --data_dir {root}"


def builder_of(prepared: Prepared) -> Any:
    """The TFDS builder of a prepared folder.

    Raises:
        UsageError: when it is not stored as TFRecords of images with class labels.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(prepared.folder)
    except Exception as error:  # TFDS raises whatever its parsers raise; all mean a damaged folder
        raise UsageError(
            f"{prepared.folder}: cannot be read as TFDS data ({error}); prepare it again"
        ) from error
    keys = builder.info.supervised_keys
    features = builder.info.features
    if (
        not keys
        or not isinstance(features[keys[0]], tfds.features.Image)
        or not isinstance(features[keys[1]], tfds.features.ClassLabel)
    ):
        raise UsageError(
            f"dataset {prepared.name!r} does not map one image to one class; choose another"
        )
    if builder.info.file_format.value != "tfrecord":
        raise UsageError(
            f"dataset {prepared.name!r} is stored as {builder.info.file_format.value}; prepare it as tfrecord"
        )
    return builder


@dataclass(frozen=True, kw_only=True)
class Records:
    """Where each record of a split lies, and its label (int32); all arrays `[N]`."""

    files: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    labels: np.ndarray
    image_key: str

    def reader(self) -> Callable[[Any], Any]:
        """A graph function from one index to the encoded bytes of its image."""
        import tensorflow as tf

        descriptors = [
            os.open(name, os.O_RDONLY) for name in self.files
        ]  # open until the process ends
        spec = {self.image_key: tf.io.FixedLenFeature([], tf.string)}

        def record(index: np.ndarray) -> bytes:
            return os.pread(
                descriptors[self.file[index]], int(self.length[index]), int(self.offset[index])
            )

        def read(index: Any) -> Any:
            serialized = tf.ensure_shape(tf.numpy_function(record, [index], tf.string), [])
            return tf.io.parse_single_example(serialized, spec)[self.image_key]

        return read


def records(builder: Any, split: str) -> Records:
    """Reads a split once, checksums verified, and notes where each record lies and what its label is.

    Raises:
        UsageError: naming the damaged file, or the first label without a class.
    """
    image_key, label_key = builder.info.supervised_keys
    files = tuple(str(path) for path in builder.info.splits[split].filepaths)
    parts = [_index_file(name, label_key) for name in files]
    labels = np.concatenate([part[0] for part in parts])
    classes = builder.info.features[label_key].num_classes
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        raise UsageError(
            f"split {split} of {builder.name}: labels must lie in 0..{classes - 1}; it cannot be trained on"
        )
    return Records(
        files=files,
        file=np.repeat(np.arange(len(files)), [len(part[0]) for part in parts]),
        offset=np.concatenate([part[1] for part in parts]),
        length=np.concatenate([part[2] for part in parts]),
        labels=labels.astype(np.int32),
        image_key=image_key,
    )


def _index_file(name: str, label_key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, byte offsets and lengths of the records of one file."""
    import tensorflow as tf

    from epochal.app.data.dataset import untuned

    spec = {label_key: tf.io.FixedLenFeature([], tf.int64)}

    def entry(serialized: Any) -> tuple[Any, Any]:
        return tf.io.parse_example(serialized, spec)[label_key], tf.strings.length(serialized)

    batches = untuned(tf.data.TFRecordDataset(name).batch(1024).map(entry).prefetch(1))
    try:
        pairs = list(batches.as_numpy_iterator())
    except tf.errors.OpError as error:
        raise UsageError(
            f"{name} is damaged ({error.message.splitlines()[0][:120]}); prepare the data set again"
        ) from error
    labels = np.concatenate([pair[0] for pair in pairs] or [np.zeros(0, np.int64)])
    lengths = np.concatenate([pair[1] for pair in pairs] or [np.zeros(0, np.int64)]).astype(
        np.int64
    )
    ends = np.cumsum(lengths + _HEADER + _FOOTER)
    return labels, ends - lengths - _FOOTER, lengths
