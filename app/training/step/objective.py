"""Objectives: the one place that turns labels and logits into what a step minimises.

A loss takes integer labels `[n]` and logits `[n, classes]` and returns one value an image, `[n]`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.config import Objective as Settings
from epochal.app.data.augment.mixing import are_mixed, taken_apart
from epochal.app.errors import UsageError
from epochal.app.training.optimizers.penalties import WeightPenalty

NO_PENALTY = WeightPenalty()
Loss = Callable[[Any, Any], tf.Tensor]


def cross_entropy(labels: Any, logits: Any, smoothing: float = 0.0) -> tf.Tensor:
    """Return the softmax cross-entropy; `smoothing` is the share of the target for all classes.

    Szegedy et al. 2016 (arXiv:1512.00567, section 7) for the smoothing.
    """
    of_label = keras.losses.sparse_categorical_crossentropy(
        labels,
        logits,
        from_logits=True,
    )
    if not smoothing:
        return of_label
    of_all_classes = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1 - smoothing) * of_label + smoothing * of_all_classes


def hinge(labels: Any, logits: Any) -> tf.Tensor:
    """Return `sum over j != y of max(0, s_j - s_y + 1)` (Weston and Watkins 1999)."""
    return tf.reduce_sum(_missed_margins(labels, logits), axis=-1)


def categorical_hinge(labels: Any, logits: Any) -> tf.Tensor:
    """Return `max(0, max over j != y of s_j - s_y + 1)` (Crammer and Singer 2001).

    Keras' CategoricalHinge, except where all wrong scores are below 0: it takes the right class for
    one of score 0.
    """
    return tf.reduce_max(_missed_margins(labels, logits), axis=-1)


def squared_error(labels: Any, logits: Any) -> tf.Tensor:
    """Return the mean over classes of `(s_j - t_j)^2`, with t 1 for the label, 0 for the others."""
    targets = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    return tf.reduce_mean(tf.square(logits - targets), axis=-1)


def _missed_margins(labels: Any, logits: Any) -> tf.Tensor:
    """Return how far each wrong class is within 1 of the right one, `[n, classes]`; 0 for that."""
    is_label = tf.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    score_of_label = tf.reduce_sum(
        logits * is_label,
        axis=-1,
        keepdims=True,
    )
    return tf.maximum(logits - score_of_label + 1, 0) * (1 - is_label)


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "categorical_hinge": categorical_hinge,
    "squared_error": squared_error,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Objective:
    """What a step minimises: the weighted mean loss of the images, and the penalties of weights.

    Args:
        loss: one value an image, which is logged without any weight
        class_weights: float32 `[classes]`, what the losses of each class are multiplied by (None:
            by 1)
        penalty: of the model's weights
        full_batch: images in the largest batch of an epoch, by which the sum of a step's losses is
            divided, so that every image weighs the same in an epoch (None: by the images of the
            step)
    """

    loss: Loss = cross_entropy
    class_weights: np.ndarray | None = None
    penalty: WeightPenalty = NO_PENALTY
    full_batch: int | None = None

    @classmethod
    def from_config(
        cls,
        settings: Settings,
        classes: tuple[str, ...],
        labels: np.ndarray,
        *,
        penalty: WeightPenalty = NO_PENALTY,
        full_batch: int | None = None,
    ) -> "Objective":
        """Return the configured objective for training images with these labels `[N]`.

        Raises:
            UsageError: for class weights of a class that the data set lacks, or that are all 0.
        """
        return cls(
            loss=loss_of(settings),
            class_weights=class_weights(settings, classes, labels),
            penalty=penalty,
            full_batch=full_batch,
        )

    def losses(
        self, labels: Any, logits: Any, image_weights: Any = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss of each image without weights, and with those of classes and images.

        A mixed image has the losses of both labels, each with the weight of its class, by their
        shares; for cross-entropy that is the loss of a soft label. The image's weight is its own.

        Args:
            labels: integers `[n]` or `mixed_labels`.
            logits: `[n, classes]`.
            image_weights: `[n]`, if any.
        """
        if are_mixed(labels):
            own, partners, share = taken_apart(labels)
            of_own = self.losses(own, logits, image_weights)
            of_partners = self.losses(partners, logits, image_weights)
            share = tf.cast(share, of_own[0].dtype)
            losses = share * of_own[0] + (1 - share) * of_partners[0]
            weighed = share * of_own[1] + (1 - share) * of_partners[1]
            return losses, weighed
        losses = self.loss(labels, logits)
        weighed = losses
        if image_weights is not None:
            weighed = weighed * tf.cast(image_weights, losses.dtype)
        if self.class_weights is not None:
            factors = tf.gather(self.class_weights, labels)
            weighed = weighed * tf.cast(factors, losses.dtype)
        return losses, weighed

    def mean_loss(self, labels: Any, logits: Any) -> tf.Tensor:
        """Return the weighted mean loss of a batch, without penalties."""
        _, weighed = self.losses(labels, logits)
        return tf.reduce_mean(weighed)

    def penalized(
        self, loss: tf.Tensor, penalties: Sequence[tf.Tensor], shares: int = 1
    ) -> tf.Tensor:
        """Return a loss with one of `shares` equal shares of the penalties."""
        terms = [tf.zeros((), loss.dtype)]
        for penalty in penalties:
            terms.append(tf.cast(penalty, loss.dtype))
        return loss + tf.add_n(terms) / shares


# What a class of n images counts for, by which the weight of each is divided.
_REPRESENTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "balanced": lambda counts: counts,
    "effective_number": lambda counts: 1 - 0.999**counts,
    "square_root": np.sqrt,
}


def weighted_share(weights: np.ndarray, labels: np.ndarray) -> float:
    """Return how many equally weighted images are worth one, for weights of classes `[classes]`.

    It is Kish's effective sample size, the squared sum of weights over the sum of squares, as a
    share of the images `[N]` (Survey Sampling, 1965).
    """
    of_images = weights[labels].astype(np.float64)
    return float(np.sum(of_images) ** 2 / (len(labels) * np.sum(of_images**2)))


def loss_of(settings: Settings) -> Loss:
    """Return the configured loss."""
    if settings.label_smoothing:
        return partial(cross_entropy, smoothing=settings.label_smoothing)
    return LOSSES[settings.loss]


def class_weights(
    settings: Settings, classes: tuple[str, ...], labels: np.ndarray
) -> np.ndarray | None:
    """Return the weight of every class, float32 `[classes]`, or None where all weigh the same.

    The named ones average 1 over the images. With n images in a class its weight is proportional to
    1 / n ("balanced": every class has the same sum), to 1 / sqrt(n) ("square_root"; Mikolov et al.
    2013, arXiv:1310.4546, sample words so; Mahajan et al. 2018, arXiv:1805.00932, images), or to
    1 / (1 - 0.999^n) ("effective_number": an image says less that is new the more there are; Cui et
    al. 2019, arXiv:1901.05555).

    Raises:
        UsageError: for a class that the data set lacks, or when none weighs anything.
    """
    chosen = settings.class_weights
    if chosen is None:
        return None
    if isinstance(chosen, str):
        counts = np.bincount(labels, minlength=len(classes))
        shares = _REPRESENTED[chosen](np.maximum(counts, 1))
        weights = len(labels) / (shares * np.sum(counts / shares))
        return weights.astype(np.float32)
    unknown = sorted(set(chosen) - set(classes))
    if unknown:
        known = ", ".join(classes[:10])
        raise UsageError(
            f"objective.class_weights: no class {unknown[0]!r}; the classes are {known}"
        )
    weights = np.array([chosen.get(name, 1.0) for name in classes], np.float32)
    if not weights.any():
        raise UsageError(
            "objective.class_weights: expected a class that weighs more than 0, got 0 for all"
        )
    return weights
