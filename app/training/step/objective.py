"""Losses of logits `[n, classes]` and integer labels `[n]`, one value a sample, `[n]`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.config import Objective
from epochal.app.errors import UsageError

Criterion = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of labels and logits


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float = 0.0) -> tf.Tensor:
    """Softmax cross-entropy; `smoothing` spreads that share of the target over all classes.

    Szegedy et al. 2016 (arXiv:1512.00567, section 7) for the smoothing.
    """
    right = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if not smoothing:
        return right
    return (1 - smoothing) * right - smoothing * tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)


def hinge(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """`sum over j != y of max(0, s_j - s_y + 1)`: nothing once every margin is met (Weston and Watkins 1999)."""
    return tf.reduce_sum(_margins(labels, logits), axis=-1)


def categorical_hinge(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """`max(0, max over j != y of s_j - s_y + 1)` (Crammer and Singer 2001).

    Keras' CategoricalHinge, except where all wrong scores are below 0: it takes the right class for one of score 0.
    """
    return tf.reduce_max(_margins(labels, logits), axis=-1)


def squared_error(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The mean over classes of `(s_j - t_j)^2`, with t 1 for the label and 0 for the others."""
    return tf.reduce_mean(
        tf.square(logits - tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)), axis=-1
    )


def _margins(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """By how much each wrong class is within 1 of the right one; 0 for the right one."""
    right = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    score = tf.reduce_sum(logits * right, axis=-1, keepdims=True)
    return tf.maximum(logits - score + 1, 0) * (1 - right)


LOSSES: dict[str, Criterion] = {
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "categorical_hinge": categorical_hinge,
    "squared_error": squared_error,
}


def criterion(objective: Objective) -> Criterion:
    """The configured loss."""
    if objective.label_smoothing:
        return partial(cross_entropy, smoothing=objective.label_smoothing)
    return LOSSES[objective.loss]


def class_weights(objective: Objective, classes: tuple[str, ...], labels: np.ndarray) -> Any:
    """The weight of every class, float32 `[classes]`, or None where all weigh the same.

    "balanced" gives a class `images / (classes * its images)`: every class the same sum, every image 1 on average.

    Raises:
        UsageError: for a class that the data set lacks, or when none weighs anything.
    """
    if objective.class_weights is None:
        return None
    if objective.class_weights == "balanced":
        counts = np.bincount(labels, minlength=len(classes))
        return (len(labels) / (len(classes) * np.maximum(counts, 1))).astype(np.float32)
    unknown = sorted(set(objective.class_weights) - set(classes))
    if unknown:
        raise UsageError(
            f"objective.class_weights: no class {unknown[0]!r}; the classes are {', '.join(classes[:10])}"
        )
    weights = np.array([objective.class_weights.get(name, 1.0) for name in classes], np.float32)
    if not weights.any():
        raise UsageError(
            "objective.class_weights: expected a class that weighs more than 0, got 0 for all"
        )
    return weights
