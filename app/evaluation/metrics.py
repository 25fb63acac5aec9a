"""Metrics: all figures that a run reports, computed from logits and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from epochal.app.store.result import Figures

TOP = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Figures of a classifier over N images of C classes; every image counts exactly once.

    Arrays over images follow the order of the images that were evaluated. A per-class figure whose
    denominator is zero (a class never predicted, or without images) is NaN, no flattering 0 or 1.
    """

    count: int
    """Number of images N."""
    loss: float
    """Mean softmax cross-entropy in nats."""
    accuracy: float
    """Share of images whose largest logit is the true class, 0..1."""
    interval: tuple[float, float]
    """95 % Wilson interval of the accuracy."""
    top5_accuracy: float | None
    """Share of images with the true class among the five largest logits; None up to 5 classes."""
    confusion: np.ndarray
    """int64 [C, C]: rows are true classes, columns predicted ones."""
    precision: np.ndarray
    """float64 [C]."""
    recall: np.ndarray
    """float64 [C]."""
    f1: np.ndarray
    """float64 [C]."""
    losses: np.ndarray
    """float64 [N]: cross-entropy of each image."""
    labels: np.ndarray
    """int64 [N]: true classes."""
    predictions: np.ndarray
    """int64 [N]: classes of the largest logit, the first one in a tie."""
    confidences: np.ndarray
    """float64 [N]: softmax probability of each prediction."""

    @property
    def class_counts(self) -> np.ndarray:
        """Number of images of each true class, int64 [C]."""
        return self.confusion.sum(axis=1)

    @property
    def figures(self) -> Figures:
        """The scalar figures as plain numbers, as a run's result stores them."""
        low, high = self.interval
        precision, recall, f1 = macro_figures(
            self.confusion.diagonal(),
            self.confusion.sum(axis=0),
            self.class_counts,
        )
        return Figures(
            accuracy=self.accuracy,
            accuracy_low=low,
            accuracy_high=high,
            loss=self.loss,
            count=self.count,
            chance=float(self.class_counts.max() / self.count),
            top5_accuracy=self.top5_accuracy,
            macro_precision=precision,
            macro_recall=recall,
            macro_f1=f1,
        )


def evaluate_logits(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Compute every reported figure from `logits` (float [N, C]) and `labels` (integer [N]).

    Sums run in float64 whatever the dtype of the logits.

    Raises:
        ValueError: for empty or mismatching input, labels outside 0..C-1 and logits that are not
            finite: a figure over fewer images would be a wrong one.
    """
    logits, labels = _check_input(logits, labels)
    num_classes = logits.shape[1]
    log_probabilities = _log_probabilities(logits)
    predictions = logits.argmax(axis=1)
    losses = -_pick(log_probabilities, labels)
    confusion = confusion_matrix(labels, predictions, num_classes)
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, predictions, labels=np.arange(num_classes), zero_division=np.nan
    )
    hits = int(np.trace(confusion))
    return Evaluation(
        count=len(labels),
        loss=float(losses.mean()),
        accuracy=hits / len(labels),
        interval=wilson_interval(hits, len(labels)),
        top5_accuracy=_top_accuracy(logits, labels),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        losses=losses,
        labels=labels,
        predictions=predictions,
        confidences=np.exp(_pick(log_probabilities, predictions)),
    )


def image_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each image in nats, float64 [N], of logits [N, C] and labels [N].

    Raises:
        ValueError: as `evaluate_logits` does.
    """
    logits, labels = _check_input(logits, labels)
    return -_pick(_log_probabilities(logits), labels)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis in float64; each row sums to one.

    Raises:
        ValueError: there is no class, or a logit is not finite.
    """
    logits = np.asarray(logits, np.float64)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits must have a last axis of classes, got shape {logits.shape}.")
    num_broken = np.count_nonzero(~np.isfinite(logits))
    if num_broken:
        raise ValueError(f"logits must be finite, got {num_broken} that are not.")
    result: np.ndarray = softmax(logits, axis=-1)
    return result


def wilson_interval(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion, inside 0..1 unlike the normal one.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference",
    p. 209-212.
    """
    if not 0 <= hits <= count or count == 0:
        raise ValueError(
            f"wilson_interval needs 0 <= hits <= count and count > 0, got {hits} of {count}."
        )
    interval = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    low = float(interval.low)
    high = float(interval.high)
    # Rounding may lead a little beyond either end.
    return max(0.0, low), min(1.0, high)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Count every (true, predicted) pair: int64 [C, C], rows true.

    Unlike scikit-learn's it takes images of one class alone without a warning.
    """
    pairs = labels * num_classes + predictions
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def macro_figures(
    hits: np.ndarray, predicted: np.ndarray, images: np.ndarray
) -> tuple[float, float, float]:
    """Return macro precision, recall and F1: plain means over the classes that have images.

    A class that is never predicted has precision and F1 of 0. The micro figures of all three are
    the accuracy. F1 is the mean of the classes' F1, not the F1 of the means (Opitz and Burst 2019,
    arXiv:1911.03347).

    Args:
        hits: right predictions of each class, `[C]`.
        predicted: predictions of each class, `[C]`.
        images: of each true class, `[C]`; one has some.
    """
    is_present = images > 0
    hits = hits[is_present].astype(np.float64)
    predicted = predicted[is_present]
    images = images[is_present]
    precision = hits / np.maximum(predicted, 1)
    recall = hits / images
    f1 = 2 * hits / (predicted + images)
    return float(precision.mean()), float(recall.mean()), float(f1.mean())


def frequent_mistakes(evaluation: Evaluation, count: int = 10) -> list[tuple[int, int, int]]:
    """Return (true class, predicted class, images) of the `count` most frequent mistakes."""
    counts = evaluation.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")
    mistakes = []
    for cell in order[:count]:
        true, predicted = divmod(int(cell), len(counts))
        images = int(counts[true, predicted])
        if images:
            mistakes.append((true, predicted, images))
    return mistakes


def check_classes(evaluation: Evaluation, classes: Sequence[str]) -> None:
    """Raise ValueError unless there is one class name for each column of the confusion matrix."""
    if len(classes) != len(evaluation.confusion):
        raise ValueError(
            f"classes must name {len(evaluation.confusion)} classes, got {len(classes)} names."
        )


def _check_input(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return `logits` as they are and `labels` as int64; ValueError says what does not fit."""
    logits = np.asarray(logits)
    labels = np.asarray(labels)
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(
            f"logits must be [N, C] with at least one image and one class, got {logits.shape}."
        )
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels must be [{len(logits)}], one for each row of logits, got {labels.shape}."
        )
    are_floats = np.issubdtype(logits.dtype, np.floating)
    are_integers = np.issubdtype(labels.dtype, np.integer)
    if not are_floats or not are_integers:
        raise ValueError(
            f"logits must be floats, labels integers, got {logits.dtype} and {labels.dtype}."
        )
    is_finite = np.isfinite(logits).all(axis=1)
    broken = np.flatnonzero(~is_finite)
    if len(broken):
        raise ValueError(
            f"logits must be finite, got NaN or infinity for {len(broken)} of {len(logits)} "
            f"images, first image {broken[0]}: the model diverged; evaluate an earlier checkpoint."
        )
    last_class = logits.shape[1] - 1
    is_strange = (labels < 0) | (labels > last_class)
    if is_strange.any():
        first = labels[is_strange][0]
        raise ValueError(
            f"labels must lie in 0..{last_class}, got {first}: the model knows other classes."
        )
    return logits, labels.astype(np.int64)


def _pick(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return one entry of each row, [N]."""
    entries = np.take_along_axis(rows, columns[:, None], axis=1)
    return entries[:, 0]


def _log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the softmax over the last axis, float64."""
    result: np.ndarray = log_softmax(logits.astype(np.float64), axis=-1)
    return result


def _top_accuracy(logits: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the top-5 accuracy, None up to five classes; ties go to the lower class.

    So they do in argmax, and top-5 is never below top-1. In scikit-learn's top_k_accuracy_score
    ties go to the higher class.
    """
    if logits.shape[1] <= TOP:
        return None
    true_logits = _pick(logits, labels)[:, None]
    is_lower_class = np.arange(logits.shape[1]) < labels[:, None]
    is_larger = logits > true_logits
    is_tie = logits == true_logits
    ahead = is_larger | (is_tie & is_lower_class)
    num_ahead = ahead.sum(axis=1)
    return float(np.mean(num_ahead < TOP))
