"""Whether data and weights can be had at all, in a moment: before TensorFlow is loaded."""

from dataclasses import replace
from pathlib import Path

from epochal.app.config import Config
from epochal.app.data.sources import tfds
from epochal.app.errors import UsageError
from epochal.app.store import run as runs


def is_folder(dataset: str) -> bool:
    """Whether the name means a folder of images rather than a data set."""
    path = Path(dataset)
    if dataset.startswith((".", "/", "~")) or path.is_file():
        return True
    return path.is_dir() and not any(
        path.glob("*/dataset_info.json")
    )  # else it is prepared TFDS data of that name


def check_data(config: Config) -> Config:
    """Finds the data set and the weights to start from, without reading them and without network.

    Returns:
        The configuration with absolute paths, which mean the same wherever the run is used from.

    Raises:
        UsageError: saying what is missing and how to get it.
    """
    if config.weights is not None:
        if not Path(config.weights).expanduser().is_file():
            raise UsageError(
                f"weights: {config.weights} is no file; give one of keras.applications"
            )
        config = replace(config, weights=_absolute(config.weights))
    if config.init_from is not None:
        config = replace(config, init_from=_absolute(str(runs.find(config.init_from).folder)))
    if config.dataset == "digits":
        return config
    if not is_folder(config.dataset):
        tfds.find(config.dataset, config.data_dir)
        return replace(config, data_dir=config.data_dir and _absolute(config.data_dir))
    path = Path(config.dataset).expanduser()
    if not path.is_dir():
        kind = "a file" if path.exists() else "missing"
        raise UsageError(
            f"{config.dataset} is {kind}; give a folder with one sub-folder of images a class"
        )
    return replace(config, dataset=_absolute(config.dataset))


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
