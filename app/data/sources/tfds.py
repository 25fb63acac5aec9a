"""Prepared tensorflow-datasets, read as records, at random by index."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.config import Config
from epochal.app.data.open_files import OpenFiles
from epochal.app.data.same_files import digest_of
from epochal.app.data.sources.record_places import record_places
from epochal.app.errors import UsageError, suggestion

if TYPE_CHECKING:
    from epochal.app.data.dataset import RawDataset

_BATCH = 1024  # records that are parsed together


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One prepared version of a data set on disk.

    Args:
        name: of the data set with its configuration, if it has any, and its version
        folder: holds `dataset_info.json`
    """

    name: str
    folder: Path


def find(name: str, data_dir: str | None) -> Prepared:
    """Find the newest prepared version of a data set, without TensorFlow and without network.

    Raises:
        UsageError: saying how to prepare it, which name was meant, or which configurations of the
            data set there are to choose from.
    """
    default = os.environ.get("TFDS_DATA_DIR")
    if not default:
        default = str(Path("~", "tensorflow_datasets"))
    root = Path(os.path.expanduser(data_dir or default))
    base = root.joinpath(*name.split("/"))
    folders = prepared_folders(base)
    if not folders:
        raise UsageError(_how_to_prepare(name, root))
    if base in folders:  # the name has a version
        return Prepared(name=name, folder=base)
    # Versions in order: of each configuration the newest stays.
    newest: dict[Path, Path] = {}
    for folder in sorted(folders, key=lambda folder: _version(folder.name)):
        newest[folder.parent] = folder
    names = sorted(str(folder.relative_to(root)) for folder in newest.values())
    if len(names) > 1:
        raise UsageError(
            f"dataset {name!r} is prepared in {len(names)} configurations; "
            f"give one of {', '.join(names)}"
        )
    return Prepared(name=names[0], folder=root / names[0])


def prepared_folders(base: Path) -> list[Path]:
    """Return the folders of all versions, of all configurations, of the data set in a folder.

    The folder may itself be that of a version.
    """
    folders = []
    for pattern in ("", "*/", "*/*/"):
        for info in base.glob(f"{pattern}dataset_info.json"):
            folders.append(info.parent)
    return folders


def _version(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    if not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return tuple(int(part) for part in parts)


def _how_to_prepare(name: str, root: Path) -> str:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0] in known:
        return (
            f"dataset {name!r} is not prepared under {root}; with network, run: "
            f"tfds build {name} --data_dir {root}"
        )
    hint = suggestion(name, [*known, "digits"])
    return (
        f"dataset {name!r}: neither a folder nor a TFDS name{hint}; "
        "give digits, a TFDS name or a folder"
    )


def read(config: Config) -> "RawDataset":
    """Read train, validation and test of a prepared data set, or else its first split.

    Raises:
        UsageError: it is not prepared, is damaged, or is none of images with one class each.
    """
    from epochal.app.data.dataset import RawDataset
    from epochal.app.data.sources.shared import choose_shape, make_split

    builder = open_builder(find(config.dataset, config.data_dir))
    image_key, label_key = builder.info.supervised_keys
    height, width, channels = builder.info.features[image_key].shape
    native_size = None
    if height == width:
        native_size = height
    shape = choose_shape(config, native_size, channels or 3)
    names = [name for name in ("train", "validation", "test") if name in builder.info.splits]
    if not names:
        names = list(builder.info.splits)[:1]
    splits = {}
    digests = {}
    for name in names:
        records = index_records(builder, name)
        for file, digest in zip(records.files, records.digests, strict=True):
            digests[Path(file).name] = digest
        splits[name] = make_split(
            records.loader(),
            records.labels,
            shape,
            config.data.cache_gib,
        )
    classes = tuple(builder.info.features[label_key].names)
    return RawDataset(
        splits=splits,
        classes=classes,
        shape=shape,
        native_size=native_size,
        digests=digests,
    )


def open_builder(prepared: Prepared) -> Any:
    """Return the TFDS builder of a prepared folder.

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
    file_format = builder.info.file_format.value
    if file_format != "tfrecord":
        raise UsageError(
            f"dataset {prepared.name!r} is stored as {file_format}; prepare it as tfrecord"
        )
    return builder


@dataclass(frozen=True, kw_only=True)
class Records:
    """Place and label of each record of a split; the arrays are `[N]`.

    Attributes:
        files: paths of the split's files.
        digests: of the files' content.
        file: place of each record's file in `files`.
        offset, length: of each record in its file, in bytes.
        labels: int32.
        image_key: the record's feature that holds the encoded image.
    """

    files: tuple[str, ...]
    digests: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray
    labels: np.ndarray
    image_key: str

    def loader(self) -> Callable[[Any], Any]:
        """Return a function, in TensorFlow operations, from an index to its encoded image."""
        import tensorflow as tf

        files = OpenFiles(self.files)
        spec = {self.image_key: tf.io.FixedLenFeature([], tf.string)}

        def read_record(index: np.ndarray) -> bytes:
            return files.read(
                int(self.file[index]), int(self.offset[index]), int(self.length[index])
            )

        def load(index: Any) -> Any:
            record = tf.numpy_function(read_record, [index], tf.string)
            record = tf.ensure_shape(record, [])
            example = tf.io.parse_single_example(record, spec)
            return example[self.image_key]

        return load


def index_records(builder: Any, split: str) -> Records:
    """Read a split once, verifying checksums, and note place and label of each record.

    Raises:
        UsageError: naming the damaged file, or a split with labels that name no class.
    """
    image_key, label_key = builder.info.supervised_keys
    files = tuple(str(path) for path in builder.info.splits[split].filepaths)
    expected = builder.info.splits[split].shard_lengths
    if len(files) != len(expected):
        raise UsageError(
            f"split {split} of {builder.name}: {len(files):,} files, but dataset_info.json tells "
            f"of {len(expected):,}; prepare the data set again"
        )
    all_labels = []
    all_offsets = []
    all_lengths = []
    digests = []
    for name, count in zip(files, expected, strict=True):
        offsets, lengths = record_places(Path(name))
        if len(offsets) != count:
            raise UsageError(
                f"split {split} of {builder.name}: {name} has {len(offsets):,} of the {count:,} "
                "records that dataset_info.json tells; prepare the data set again"
            )
        labels, digest = _read_labels(name, label_key)
        digests.append(digest)
        all_labels.append(labels)
        all_lengths.append(lengths)
        all_offsets.append(offsets)
    labels = np.concatenate(all_labels)
    num_classes = builder.info.features[label_key].num_classes
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= num_classes:
        raise UsageError(
            f"split {split} of {builder.name}: labels must lie in 0..{num_classes - 1}; "
            "it cannot be trained on"
        )
    return Records(
        files=files,
        digests=tuple(digests),
        file=np.repeat(np.arange(len(files)), expected),
        offset=np.concatenate(all_offsets),
        length=np.concatenate(all_lengths),
        labels=labels.astype(np.int32),
        image_key=image_key,
    )


def _read_labels(name: str, label_key: str) -> tuple[np.ndarray, str]:
    """Return the label of each record of a file, int64, and the file's digest."""
    import tensorflow as tf

    from epochal.app.data.dataset import without_tuning

    spec = {label_key: tf.io.FixedLenFeature([], tf.int64)}

    def parse(serialized: Any) -> tuple[Any, Any]:
        example = tf.io.parse_example(serialized, spec)
        return example[label_key], serialized

    records = tf.data.TFRecordDataset(name).batch(_BATCH)
    parsed = without_tuning(records.map(parse).prefetch(1))
    labels = [np.zeros(0, np.int64)]

    def contents() -> Iterator[bytes]:
        for some_labels, some_records in parsed.as_numpy_iterator():
            labels.append(some_labels)
            yield from some_records

    try:
        digest = digest_of(contents())
    except tf.errors.OpError as error:
        fault = error.message.splitlines()[0][:120]
        raise UsageError(f"{name} is damaged ({fault}); prepare the data set again") from error
    return np.concatenate(labels), digest
