"""A trained model: built from the run's own configuration, then filled with its best weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from epochal import models
from epochal.app.config import Config
from epochal.app.config.files import read_config_file
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.store.run import Run

_BEST = "best"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What evaluation, prediction and export start from."""

    config: Config
    preprocessing: Preprocessing
    model: Any


def build_model(config: Config, preprocessing: Preprocessing) -> Any:
    """A fresh model of the zoo for the data set's images and classes, normalisation inside.

    Raises:
        UsageError: when the name is unknown or the images or options do not suit it.
    """
    try:
        return models.build(
            config.model,
            preprocessing.input_shape,
            len(preprocessing.classes),
            mean=preprocessing.mean,
            deviation=preprocessing.deviation,
            options=config.model_options,
        )
    except ValueError as error:
        raise UsageError(f"model: {error}") from error


def publish_weights(run: Run, model: Any) -> None:
    """Stores the model's weights as the run's best ones.

    Raises:
        StorageError: when they are not finite or cannot be written.
    """
    arrays = archive.arrays_of(_named(model))
    folder = run.checkpoints / _BEST
    if not archive.all_finite(arrays):
        raise StorageError(
            f"{folder}: weights that are not finite are never published; lower --learning-rate"
        )
    if folder.exists():
        storage.remove_published(folder)
    archive.save(folder, arrays, {"model": model.name})


def best_weights(run: Run) -> tuple[dict[str, np.ndarray], str]:
    """The run's best weights by place and path, and the SHA-256 of their file.

    Raises:
        UsageError: when the run has not finished.
        StorageError: when they are damaged.
    """
    run.check_finished()
    folder = run.checkpoints / _BEST
    arrays, _ = archive.load(folder)
    return arrays, storage.verify(folder)["files"][archive.ARRAYS]


def load_trained(run: Run, precision: str | None = None) -> Trained:
    """The run's model with its best weights, in the run's precision or another one.

    Raises:
        UsageError: when the run has not finished.
        StorageError: when its files are damaged.
    """
    import keras

    arrays, _ = best_weights(run)
    config = read_config_file(run.folder / "config.yaml")
    keras.config.set_dtype_policy(precision or config.precision)
    preprocessing = Preprocessing.from_dict(run.read_json("data.json"))
    model = build_model(config, preprocessing)
    archive.assign(_named(model), arrays, run.checkpoints / _BEST)
    return Trained(config=config, preprocessing=preprocessing, model=model)


def _named(model: Any) -> dict[str, Any]:
    return {f"{i:04d}/{weight.path}": weight for i, weight in enumerate(model.weights)}
