"""Averages of runs read for export: one network of several, and the answers that it must give."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal.app.config import Config, ViewsName
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.same_files import check_same_data
from epochal.app.errors import UsageError
from epochal.app.evaluation.calibration import calibration_error
from epochal.app.evaluation.ensemble import EvaluatedImages, average_logits, check_different
from epochal.app.evaluation.metrics import evaluate_logits, probabilities
from epochal.app.evaluation.run_results import evaluate_split
from epochal.app.evaluation.trained_model import load_trained, with_views
from epochal.app.evaluation.views import Views
from epochal.app.export import saved_model
from epochal.app.export.exportable_run import SAME_KERNELS, Expected
from epochal.app.export.inference_model import InferenceModel, with_features, without_batch_norm
from epochal.app.export.model_card import make_card
from epochal.app.export.reference_answers import (
    ReferenceAnswers,
    check_figures,
    compute_reference,
)
from epochal.app.export.sample_requests import write_requests
from epochal.app.export.variants import OWN, Variant
from epochal.app.store.export import Export
from epochal.app.store.model_card import Calibration, ModelCard
from epochal.app.store.run import Run


@dataclass(frozen=True)
class Member:
    """A run of an average: its network without batch norm, logits, answers and card."""

    network: Any
    logits: np.ndarray
    reference: ReferenceAnswers
    card: ModelCard


@dataclass(frozen=True)
class ExportableAverage:
    """The average of finished runs.

    Attributes:
        runs: its members.
        model: one network that holds those of the members.
        reference: the average of the members' answers for the test images.
    """

    runs: tuple[Run, ...]
    model: InferenceModel
    reference: ReferenceAnswers

    @property
    def source(self) -> str:
        """What is exported, in words."""
        folders = " and ".join(str(run.folder) for run in self.runs)
        return f"the average of {folders}"

    def write(self, folder: Path, variant: Variant, name: str) -> Expected:
        """Write a SavedModel into an empty folder; return what it must answer there."""
        export = Export(folder, variant.format)
        saved_model.write(self.model, export)
        write_requests(export, name, self.reference)
        return Expected(
            reference=self.reference,
            tolerance=SAME_KERNELS,
            exact=True,
        )


def check_average(variant: Variant) -> None:
    """Refuse what an average cannot be exported as.

    Raises:
        UsageError: another format than a SavedModel, or another precision than the runs'.
    """
    if variant.format != "saved_model" or variant.precision != OWN:
        raise UsageError(
            "the average of runs is exported as saved_model in the runs' own precision, "
            f"got {variant.format} in {variant.precision}; drop --format and --precision"
        )


def read_average(
    runs: Sequence[Run],
    views: ViewsName | None = None,
    *,
    load: Callable[[Config], Dataset] = load,
) -> ExportableAverage:
    """Read finished runs, one after the other, and make the network of their average.

    Of each run only its network stays in memory. Its answers are the mean of the runs' own
    probabilities, without temperatures: those that `epochal evaluate` judges. All runs take images
    of the same size, which are decoded and scaled once, and look at them in the same views.

    Args:
        runs: finished ones.
        views: of each image (None: the runs' own).
        load: reads the data set of a configuration.

    Raises:
        UsageError: a run has not finished, or its data set is gone or has changed; two runs have
            other classes, image sizes, views or test images.
        StorageError: weights and data do not give the figures that a run has.
    """
    check_different(runs)
    first: EvaluatedImages | None = None
    shape: ImageShape | None = None
    first_views: Views | None = None
    test_images: np.ndarray | None = None
    members = []
    for run in runs:
        trained = with_views(load_trained(run), views)
        shape = shape or trained.preprocessing
        _check_same_shape(runs[0], shape, run, trained.preprocessing)
        first_views = first_views or trained.views
        _check_same_views(runs[0], first_views, run, trained.views)
        dataset = load(trained.config)
        check_same_data(dataset, run.data_card().fingerprint, run)
        images = EvaluatedImages.of(run, dataset, trained.config.seed)
        first = first or images
        first.check_same(images)
        logits, _ = evaluate_split(trained.model, dataset.test, trained.views)
        if views is None:
            check_figures(run, dataset, logits)
        labels = dataset.test.labels
        card = make_card(
            run,
            trained,
            dataset,
            evaluate_logits(logits, labels).figures,
            _uncalibrated(logits, labels),
        )
        as_trained = InferenceModel(
            network=with_features(trained.model),
            preprocessing=trained.preprocessing,
            views=trained.views,
            temperature=1.0,
            card=card,
        )
        member = Member(
            network=with_features(without_batch_norm(trained.model)),
            logits=logits,
            reference=compute_reference(
                dataset,
                logits,
                as_trained,
                images=test_images,
            ),
            card=card,
        )
        members.append(member)
        test_images = member.reference.images
    return _average_of(tuple(runs), members, as_trained)


def average_network(networks: Sequence[Any]) -> Any:
    """Return one network of several with two outputs, features and logits, of the same images.

    Its features are those of all, one network's after the other; the softmax of its logits is the
    mean of their softmax.
    """
    image = keras.Input(networks[0].input.shape[1:], dtype=networks[0].input.dtype, name="images")
    features = []
    log_probabilities = []
    for number, network in enumerate(networks, start=1):
        # Keras takes no two layers of one name.
        renamed = keras.Model(
            network.input,
            network.outputs,
            name=f"{network.name}_{number}",
        )
        of_network, logits = renamed(image)
        num_features = of_network.shape[-1]
        flat = keras.ops.reshape(of_network, (-1, num_features))
        features.append(keras.ops.cast(flat, "float32"))
        logits = keras.ops.cast(logits, "float32")
        log_probabilities.append(keras.ops.log_softmax(logits, axis=-1))
    stacked = keras.ops.stack(log_probabilities)
    summed = keras.ops.logsumexp(stacked, axis=0)
    average = summed - float(np.log(len(networks)))
    return keras.Model(image, [keras.ops.concatenate(features, axis=-1), average], name="average")


def _average_of(
    runs: tuple[Run, ...], members: Sequence[Member], last: InferenceModel
) -> ExportableAverage:
    first = members[0].reference
    logits = average_logits([member.logits for member in members])
    reference = replace(
        first,
        probabilities=probabilities(logits).astype(np.float32),
        features=np.concatenate([member.reference.features for member in members], axis=1),
    )
    model = InferenceModel(
        network=average_network([member.network for member in members]),
        preprocessing=last.preprocessing,
        views=last.views,
        temperature=1.0,
        card=_card_of([member.card for member in members], logits, first.labels),
    )
    return ExportableAverage(runs, model, reference)


def _check_same_shape(first: Run, shape: ImageShape, other: Run, other_shape: ImageShape) -> None:
    sizes = (shape.channels, shape.stored_size, shape.image_size)
    other_sizes = (other_shape.channels, other_shape.stored_size, other_shape.image_size)
    if sizes == other_sizes:
        return
    raise UsageError(
        f"{first.folder} and {other.folder} take images of other sizes (channels, stored and "
        f"network's pixels {sizes} and {other_sizes}); export runs of one --image-size"
    )


def _check_same_views(first: Run, views: Views, other: Run, other_views: Views) -> None:
    is_same_border = len(views.windows) == 1 or views.border == other_views.border
    if views.windows != other_views.windows or not is_same_border:
        raise UsageError(
            f"{first.folder} and {other.folder} look at other parts of an image; export them with "
            "--evaluation.views none, mirrored, ..."
        )


def _uncalibrated(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    error = calibration_error(logits, labels)
    return Calibration(
        temperature=1.0,
        fitted_on=None,
        judged_on="test",
        error_before=error,
        error_after=error,
    )


def _card_of(cards: Sequence[ModelCard], logits: np.ndarray, labels: np.ndarray) -> ModelCard:
    """Return the card of an average: the first member's with figures of all."""
    figures = evaluate_logits(logits, labels).figures
    digest = hashlib.sha256()
    for card in cards:
        digest.update(card.data_sha256.encode())
    return replace(
        cards[0],
        run=_joined([card.run for card in cards]),
        model=_joined([card.model for card in cards]),
        data_sha256=digest.hexdigest(),
        judged_on="test",
        accuracy=figures.accuracy,
        accuracy_low=figures.accuracy_low,
        accuracy_high=figures.accuracy_high,
        count=figures.count,
        loss=figures.loss,
        calibration=_uncalibrated(logits, labels),
        precision=_joined([card.precision for card in cards]),
        parameters=sum(card.parameters for card in cards),
        trained={"members": [{"run": card.run, **card.trained} for card in cards]},
    )


def _joined(names: Sequence[str]) -> str:
    return " + ".join(dict.fromkeys(names))
