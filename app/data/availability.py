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
from epochal.app.errors import UsageError
from epochal.app.store import run as runs

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

_ARCHIVE_ENDINGS = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz")


def source_of(dataset: str) -> Literal["digits", "folder", "tfds"]:
    """Return the kind of source that a name means; a key of `app.data.load.SOURCES`."""
    if dataset == "digits":
        return "digits"
    if is_folder(dataset):
        return "folder"
    return "tfds"


def is_folder(dataset: str) -> bool:
    """Return whether the name means a folder of images rather than a data set."""
    path = Path(dataset)
    if dataset.startswith((".", "/", "~")) or path.is_file():
        return True
    return path.is_dir() and not tfds.prepared_folders(path)


def is_flippable(dataset: str) -> bool:
    """Return whether images may be mirrored as far as the name tells: not where it says characters.

    A data set of TFDS is known by its name before any "/", a folder of images by the last part of
    its path.
    """
    if is_folder(dataset):
        path = os.path.abspath(os.path.expanduser(dataset))
        name = os.path.basename(path)
    else:
        name = dataset.split("/")[0]
    return not name.startswith(_CHARACTERS)


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
    if source == "folder":
        check_is_folder(config.dataset)
        config = replace(config, dataset=_absolute(config.dataset))
    return config


def check_is_folder(dataset: str) -> None:
    """Refuse what is no folder; of an archive, say how to unpack it.

    Raises:
        UsageError: saying so.
    """
    path = Path(os.path.expanduser(dataset))
    if path.is_dir():
        return
    fault = "missing"
    if path.exists():
        fault = "a file"
        for kind, is_archive in (("zipfile", zipfile.is_zipfile), ("tarfile", tarfile.is_tarfile)):
            if is_archive(path):
                _refuse_archive(dataset, kind)
    raise UsageError(f"{dataset} is {fault}; give a folder with one sub-folder of images a class")


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
