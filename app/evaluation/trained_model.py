"""Trained models: built from the run's own configuration, then filled with its best weights."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from epochal import models
from epochal.app.config import Config, Evaluation, ViewsName
from epochal.app.data.availability import is_flippable
from epochal.app.data.normalization import preprocessing_of
from epochal.app.data.preprocessing import Preprocessing
from epochal.app.errors import UsageError
from epochal.app.evaluation.views import Views, views_for
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.store.arrays import arrays_of, assign
from epochal.app.store.run import Run
from epochal.models.layers.normalize import Normalize


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model with what evaluation, prediction and export need beside it.

    Attributes:
        config: of its run.
        preprocessing: of images and labels.
        model: takes what the network sees of an image.
        views: the parts of a stored image that it sees.
        flippable: whether a mirrored image may still show its class.
    """

    config: Config
    preprocessing: Preprocessing
    model: Any
    views: Views
    flippable: bool


def check_model(config: Config) -> None:
    """Refuse the name of a model, or its options, that `build_model` would refuse for any images.

    Raises:
        UsageError: saying which there are.
    """
    try:
        models.check_options(config.model, config.model_options)
        _check_components(config)
    except ValueError as error:
        raise UsageError(f"model: {error}") from error


def _check_components(config: Config) -> None:
    """Refuse to hand a network components in place of pixels where it looks at neighbours."""
    kind = config.data.normalization
    if kind in ("pca", "whiten") and not models.reads_features(config.model):
        raise UsageError(
            f"data.normalization {kind}: {config.model} looks at neighbouring pixels, and "
            "components have no neighbours; take zca, or --model softmax or mlp"
        )


def build_model(
    config: Config, preprocessing: Preprocessing, *, precision: str | None = None
) -> Any:
    """Build a model of the zoo with fresh weights for the data set's images and classes.

    Normalisation is inside. It computes in the precision of the configuration, or another one.

    Raises:
        UsageError: when the name is unknown or the images or options do not suit it.
    """
    normalization = preprocessing.normalization
    try:
        with dtype_policy(precision or config.precision):
            if normalization is not None:
                return models.build_behind(
                    Normalize(normalization.mean, normalization.factors, name="standardize"),
                    config.model,
                    preprocessing.input_shape,
                    len(preprocessing.classes),
                    options=config.model_options,
                )
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


def weight_arrays(model: Any) -> dict[str, np.ndarray]:
    """Return the model's weights by place and path, as a run publishes them."""
    return arrays_of(_weights_by_name(model))


def load_trained(run: Run, precision: str | None = None) -> Trained:
    """Return the run's model with its best weights, in the run's precision or another one.

    Raises:
        UsageError: when the run has not finished.
        StorageError: when its files are damaged.
    """
    arrays = run.best_weights().arrays
    config = run.config()
    card = run.data_card()
    preprocessing = preprocessing_of(run)
    flippable = card.flippable
    if flippable is None:
        flippable = is_flippable(config.dataset)
    model = build_model(config, preprocessing, precision=precision)
    assign(_weights_by_name(model), dict(arrays), run.best)
    return Trained(
        config=config,
        preprocessing=preprocessing,
        model=model,
        views=views_for(config, preprocessing, flippable=flippable),
        flippable=flippable,
    )


def with_views(trained: Trained, views: ViewsName | None) -> Trained:
    """Return the model as one that looks at images in other views; None leaves it as it is.

    Raises:
        UsageError: these views do not suit its images.
    """
    if views is None:
        return trained
    config = replace(trained.config, evaluation=Evaluation(views=views))
    return replace(
        trained,
        config=config,
        views=views_for(
            config,
            trained.preprocessing,
            flippable=trained.flippable,
        ),
    )


def _weights_by_name(model: Any) -> dict[str, Any]:
    """Return the weights by place and path, since paths alone may repeat."""
    weights = {}
    for place, weight in enumerate(model.weights):
        weights[f"{place:04d}/{weight.path}"] = weight
    return weights
