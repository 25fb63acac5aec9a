"""A run read for export, once for all its variants: its model, its own answers, and how each variant is written."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.evaluation.trained_model import Trained, load_trained
from epochal.app.export import golden_requests as golden
from epochal.app.export import litert, onnx, saved_model
from epochal.app.export.card import card
from epochal.app.export.reference_answers import (
    Evidence,
    answered,
    calibration,
    evidence,
    images_of,
    logits_of,
)
from epochal.app.export.servable import HALVES, Servable, for_inference, in_precision, with_features
from epochal.app.export.variants import OWN, Variant
from epochal.app.store.run import Run

_EXACT = 1e-5  # of a probability, by the same kernels
_CLOSE = 1e-4  # by those of another program
_CALIBRATION = 256  # training images by whose ranges int8 is chosen


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an export must answer, how closely, and whether that is what the run itself answers."""

    evidence: Evidence
    tolerance: float
    exact: bool


@dataclass(frozen=True)
class Source:
    """`own` is the model as it was trained, `evidence` what it answers for the test images."""

    run: Run
    trained: Trained
    dataset: Dataset
    own: Servable
    evidence: Evidence

    @property
    def accuracy(self) -> float:
        """Share of the test images taken along that the run gets right."""
        return float(np.mean(self.evidence.probabilities.argmax(axis=1) == self.evidence.labels))

    def write(self, folder: Path, variant: Variant, name: str) -> Expected:
        """Writes a variant into an empty folder; returns what it must answer there."""
        servable = self._servable(variant.precision)
        exact = servable.card["precision"] == self.own.card["precision"]
        if variant.format == "saved_model":
            if variant.precision in HALVES:
                servable = in_precision(servable, variant.precision)
            saved_model.write(servable, folder)
            expected = self.evidence if exact else answered(self.evidence, servable)
            golden.write(folder, name, expected)
            return Expected(evidence=expected, tolerance=_EXACT, exact=exact)
        if variant.format == "litert":
            litert.write(servable, folder, self._typical)
        else:
            onnx.write(servable, folder)
        return Expected(
            evidence=self.evidence, tolerance=_CLOSE if exact else math.inf, exact=exact
        )

    def _servable(self, precision: str) -> Servable:
        """The model for inference alone."""
        wanted = self.own.card["precision"] if precision == OWN else precision
        trained = self.trained if wanted == self.own.card["precision"] else self._float32
        model = with_features(for_inference(trained.model))
        return replace(self.own, model=model, card={**self.own.card, "precision": wanted})

    @cached_property
    def _float32(self) -> Trained:
        return load_trained(self.run, "float32")

    @cached_property
    def _typical(self) -> np.ndarray:
        """Training images, from all over the split."""
        chosen = np.linspace(0, len(self.dataset.train) - 1, _CALIBRATION).astype(int)
        return images_of(self.dataset.train.subset(np.unique(chosen)))


def read_source(run: Run) -> Source:
    """Reads a finished run, its data, and computes its answers.

    Raises:
        UsageError: the run has not finished, or its data set is gone.
        StorageError: weights and data do not give the figures that the run has.
    """
    trained = load_trained(run)
    dataset = load(trained.config)
    logits = logits_of(trained, dataset)
    found = calibration(run, dataset, logits)
    own = Servable(
        model=with_features(trained.model),
        preprocessing=trained.preprocessing,
        temperature=found["temperature"],
        card=card(run, trained, dataset, found),
    )
    return Source(run, trained, dataset, own, evidence(run, dataset, logits["test"], own))
