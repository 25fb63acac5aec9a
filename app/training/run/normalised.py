"""The normalisation of a run's images: that of its first weights, its own, or one to be fitted."""

from dataclasses import replace
from pathlib import Path

from epochal import models
from epochal.app.config import Config
from epochal.app.data.dataset import Dataset
from epochal.app.data.normalization import fit_normalization, normalization_of
from epochal.app.errors import UsageError
from epochal.app.store.run import Run
from epochal.app.training.run.warm_start import standardised_like


def normalised(config: Config, dataset: Dataset, run: Run | None) -> Dataset:
    """Return the data set with the normalisation by which the run's network is to read images.

    It is the one that first weights were trained with, where there are such; else it is fitted to
    the training images.

    Args:
        config: of the run
        dataset: with a mean and a deviation a channel
        run: goes on, with its own normalisation; None begins

    Raises:
        UsageError: it does not suit the images, or not the first weights.
    """
    if config.init_from is not None:
        return standardised_like(run or Run(Path(config.init_from)), dataset)
    row = models.ZOO.get(config.model)
    if config.weights is None or row is None or row.colours is None:
        return _fitted(config, dataset, run)
    kind = config.data.normalization
    if kind != "channel":
        raise UsageError(
            f"data.normalization {kind}: the weights read images by a mean and a deviation of "
            "their own; leave it out"
        )
    preprocessing = dataset.preprocessing
    if preprocessing.channels != len(row.colours.mean):
        raise UsageError(
            f"weights: they read colour images, {dataset.name} has "
            f"{preprocessing.channels} channel(s)"
        )
    colours = replace(
        preprocessing,
        mean=row.colours.mean,
        deviation=row.colours.deviation,
    )
    return replace(dataset, preprocessing=colours)


def _fitted(config: Config, dataset: Dataset, run: Run | None) -> Dataset:
    """Return the data set with the normalisation fitted to its training images, or a run's own."""
    if run is not None:
        normalization = normalization_of(run)
    else:
        normalization = fit_normalization(
            dataset.train,
            dataset.preprocessing,
            config.data,
            config.seed,
        )
    preprocessing = replace(dataset.preprocessing, normalization=normalization)
    return replace(dataset, preprocessing=preprocessing)
