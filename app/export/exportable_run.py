"""Runs read for export, once for all variants: the model, its own answers, and the writing."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from epochal.app.config import ViewsName
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.data.same_files import check_same_data
from epochal.app.evaluation.metrics import evaluate_logits
from epochal.app.evaluation.trained_model import Trained, load_trained, with_views
from epochal.app.export import litert, onnx, saved_model
from epochal.app.export.inference_model import (
    HALVES,
    InferenceModel,
    in_precision,
    with_features,
    without_batch_norm,
)
from epochal.app.export.model_card import make_card
from epochal.app.export.reference_answers import (
    ReferenceAnswers,
    calibrate,
    check_figures,
    compute_reference,
    map_images,
    predict_split_logits,
    with_answers_of,
)
from epochal.app.export.sample_requests import write_requests
from epochal.app.export.variants import OWN, Variant
from epochal.app.store.export import Export
from epochal.app.store.run import Run

SAME_KERNELS = 1e-5  # tolerance of a probability
_OTHER_KERNELS = 1e-4  # of another runtime
_RANGE_IMAGES = 256  # training images by whose ranges int8 is chosen


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Answers that an export must give.

    Attributes:
        reference: images and their answers.
        tolerance: of a probability, and of a feature relative to the largest.
        exact: whether these are the run's own answers.
    """

    reference: ReferenceAnswers
    tolerance: float
    exact: bool


@dataclass(frozen=True)
class ExportableRun:
    """A finished run with its data.

    Attributes:
        model: the network as it was trained.
        reference: its answers for the test images.
    """

    run: Run
    trained: Trained
    dataset: Dataset
    model: InferenceModel
    reference: ReferenceAnswers

    @property
    def source(self) -> str:
        """What is exported, in words."""
        return str(self.run.folder)

    def write(self, folder: Path, variant: Variant, name: str) -> Expected:
        """Write a variant into an empty folder; return what it must answer there.

        Args:
            folder: of the new version.
            variant: format and precision.
            name: of the exported model.
        """
        export = Export(folder, variant.format)
        precision = variant.precision
        if precision == OWN:
            precision = self.model.card.precision
        exact = precision == self.model.card.precision
        model = self._prepare(precision)
        if variant.format == "saved_model":
            if precision in HALVES:
                model = in_precision(model, precision)
            saved_model.write(model, export)
            reference = self.reference
            if not exact:
                reference = with_answers_of(reference, model)
            write_requests(export, name, reference)
            return Expected(
                reference=reference,
                tolerance=SAME_KERNELS,
                exact=exact,
            )
        if variant.format == "litert":
            litert.write(model, export, self._range_images)
        elif variant.format == "onnx":
            onnx.write(model, export)
        else:
            raise ValueError(f"no writer for the format {variant.format}")
        tolerance = _OTHER_KERNELS if exact else math.inf
        return Expected(
            reference=self.reference,
            tolerance=tolerance,
            exact=exact,
        )

    def _prepare(self, precision: str) -> InferenceModel:
        """Return the model without batch norm, in the run's precision or, for another, float32."""
        trained = self.trained
        if precision != self.model.card.precision:
            trained = self._trained_in_float32
        network = with_features(without_batch_norm(trained.model))
        card = replace(self.model.card, precision=precision)
        return replace(self.model, network=network, card=card)

    @cached_property
    def _trained_in_float32(self) -> Trained:
        return load_trained(self.run, "float32")

    @cached_property
    def _range_images(self) -> np.ndarray:
        """Training images from all over the split."""
        train = self.dataset.train
        positions = np.linspace(
            0,
            len(train) - 1,
            _RANGE_IMAGES,
        ).astype(int)
        return map_images(train.subset(np.unique(positions)))


def read_run(run: Run, views: ViewsName | None = None) -> ExportableRun:
    """Read a finished run and its data, and compute its answers.

    Args:
        run: a finished one.
        views: of each image, over which probabilities are averaged (None: the run's own).

    Raises:
        UsageError: the run has not finished, or its data set is gone or has changed.
        StorageError: weights and data do not give the figures that the run has.
    """
    trained = load_trained(run)
    dataset = load(trained.config)
    check_same_data(dataset, run.data_card().fingerprint, run)
    logits = predict_split_logits(trained, dataset)
    check_figures(run, dataset, logits["test"])
    result = run.result()
    figures = result.judged
    if views is not None:
        trained = with_views(trained, views)
        logits = predict_split_logits(trained, dataset)
        judge = result.judged_on
        labels = getattr(dataset, judge).labels
        figures = evaluate_logits(logits[judge], labels).figures
    calibration = calibrate(run, dataset, logits)
    model = InferenceModel(
        network=with_features(trained.model),
        preprocessing=trained.preprocessing,
        views=trained.views,
        temperature=calibration.temperature,
        card=make_card(run, trained, dataset, figures, calibration),
    )
    reference = compute_reference(dataset, logits["test"], model)
    return ExportableRun(
        run,
        trained,
        dataset,
        model,
        reference,
    )
