"""Calibration: how far a classifier's probabilities can be believed, and the one number that mends most of it."""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from epochal.app.evaluation.metrics import image_losses, probabilities

BINS = 15
_RANGE = math.log(20.0)  # of the temperature's logarithm, both ways


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

    Args:
        logits: float `[N, C]`, of images that were not trained on.
        labels: integer `[N]`.

    Returns:
        A number within 1/20 to 20; labels stay as they were, for order does.
    """

    def loss(logarithm: float) -> float:
        return float(image_losses(logits / math.exp(logarithm), labels).mean())

    optimum = minimize_scalar(loss, bounds=(-_RANGE, _RANGE), method="bounded")
    return math.exp(float(optimum.x))


def calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error in 15 bins of equal width, 0..1 (Guo et al. 2017, section 2).

    It is the mean, over images, of the distance between the confidence of their bin and the share of it that is right.
    """
    shares = probabilities(logits)
    confidences = shares.max(axis=1)
    right = shares.argmax(axis=1) == labels
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidences - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
