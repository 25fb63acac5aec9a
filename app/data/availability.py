"""Availability of data and weights, told in a moment: without TensorFlow and without network."""

import os
import shlex
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from epochal.app.config import IMAGENET, Config
from epochal.app.data.sources import tfds
from epochal.app.data.sources.shard_files import find_shards, is_pattern
from epochal.app.errors import UsageError
from epochal.app.store import runs
from epochal.app.store.prepared import PREPARED

# Data sets of characters, by the beginnings of their names: mirrored, a character is another one or
# none.
_CHARACTERS = (
    "digits",
    "mnist",
    "emnist",
    "kmnist",
    "svhn",
    "omniglot",
    "binary_alpha_digits",
    "cmaterdb",
)

TABLE_ENDINGS = (".csv", ".jsonl", ".ndjson")
_ARCHIVE_ENDINGS = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


Source = Literal["digits", "folder", "table", "tar", "tfrecord", "prepared", "tfds"]


def source_of(dataset: str) -> Source:
    """Return the kind of source that a name means; a key of `app.data.load.SOURCES`.

    Raises:
        UsageError: it means shards, some of which are missing, or of two kinds.
    """
    if dataset == "digits":
        return "digits"
    if not _is_path(dataset):
        return "tfds"
    path = Path(os.path.expanduser(dataset))
    if path.suffix.lower() in TABLE_ENDINGS and not path.is_dir():
        return "table"
    if (path / PREPARED).is_file():
        return "prepared"
    shards = find_shards(dataset)
    if shards is not None:
        return shards.kind
    return "folder"


def _is_path(dataset: str) -> bool:
    """Return whether the name means a file or a folder rather than a data set of TFDS."""
    path = Path(dataset)
    if dataset.startswith((".", "/", "~")) or path.is_file() or is_pattern(dataset):
        return True
    if path.suffix.lower() in TABLE_ENDINGS:
        return True
    return path.is_dir() and not tfds.prepared_folders(path)


def is_flippable(dataset: str) -> bool:
    """Return whether images may be mirrored as far as the name tells: not where it says characters.

    A data set of TFDS is known by its name before any "/", a folder of images by the last part of
    its path, a file also by the folder that it lies in.
    """
    if not _is_path(dataset):
        name = dataset.split("/")[0]
        return not name.startswith(_CHARACTERS)
    path = os.path.abspath(os.path.expanduser(dataset))
    names = [os.path.basename(path)]
    if not os.path.isdir(path) and (is_pattern(dataset) or os.path.isfile(path)):
        names.append(os.path.basename(os.path.dirname(path)))
    return not any(name.startswith(_CHARACTERS) for name in names)


def check_data(config: Config) -> Config:
    """Find the data set and the weights to start from, without reading them and without network.

    Returns:
        The configuration with absolute paths, which mean the same wherever the run is used from,
        and with the version of a data set of TFDS.

    Raises:
        UsageError: saying what is missing and how to get it.
    """
    if config.weights is not None and config.weights != IMAGENET:
        if not Path(os.path.expanduser(config.weights)).is_file():
            raise UsageError(f"weights: {config.weights} is no file; give one, or {IMAGENET}")
        config = replace(config, weights=_absolute(config.weights))
    if config.init_from is not None:
        folder = runs.find(config.init_from).folder
        config = replace(config, init_from=_absolute(str(folder)))
    source = source_of(config.dataset)
    if source == "tfds":
        prepared = tfds.find(config.dataset, config.data_dir)
        config = replace(config, dataset=prepared.name)
        if config.data_dir:
            config = replace(config, data_dir=_absolute(config.data_dir))
    elif source != "digits":
        check_images(config.dataset)
        config = replace(config, dataset=_absolute(config.dataset))
    if config.data.classes is not None:
        if not Path(os.path.expanduser(config.data.classes)).is_file():
            raise UsageError(
                f"data.classes: {config.data.classes} is no file; give a text file with one class "
                "a line"
            )
        classes = _absolute(config.data.classes)
        config = replace(config, data=replace(config.data, classes=classes))
    return config


def check_images(dataset: str) -> Source:
    """Refuse what holds no images of the user; of an archive, say how to unpack it.

    Returns:
        The kind of source.

    Raises:
        UsageError: saying what is wrong.
    """
    source = source_of(dataset)
    path = Path(os.path.expanduser(dataset))
    if source == "table" and not path.is_file():
        fault = "missing" if not path.exists() else "no regular file"
        raise UsageError(f"{dataset} is {fault}; give a table of paths and labels")
    if source != "folder":
        return source
    if path.is_dir():
        info = path / "dataset_info.json"
        if info.exists():
            raise UsageError(
                f"{dataset} is prepared TFDS data; give its name and, as --data-dir, the folder "
                "that it is prepared in"
            )
        return source
    fault = "missing"
    if path.exists():
        fault = "a file"
        for kind, is_archive in (("zipfile", zipfile.is_zipfile), ("tarfile", tarfile.is_tarfile)):
            if is_archive(path):
                _refuse_archive(dataset, kind)
    raise UsageError(
        f"{dataset} is {fault}; give a folder with one sub-folder of images a class, a table of "
        "paths and labels (.csv, .jsonl), tar shards or TFRecord files"
    )


def _refuse_archive(dataset: str, kind: str) -> None:
    # Python's own program unpacks both kinds wherever epochal runs.
    path = Path(dataset)
    name = path.name
    while Path(name).suffix.lower() in _ARCHIVE_ENDINGS:
        name = Path(name).stem
    if path.with_name(name).exists():
        name += "-unpacked"
    place = str(path.with_name(name))
    if not place.startswith(("/", "~")):
        place = f"./{place}"
    archive = shlex.quote(dataset)
    folder = shlex.quote(place)
    raise UsageError(
        f"{dataset} is an archive, expected a folder; unpack it: python -m {kind} -e {archive} "
        f"{folder}, then give --dataset {folder}"
    )


def _absolute(path: str) -> str:
    return str(Path(os.path.expanduser(path)).absolute())
