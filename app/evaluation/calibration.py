"""Calibration: how far probabilities can be believed, and the number that mends most of it."""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from epochal.app.evaluation.metrics import image_losses, probabilities

BINS = 15
_LARGEST_LOG = math.log(20.0)  # of the temperature, both ways


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the T > 0 for which softmax(logits / T) has the least cross-entropy.

    Source: Guo et al. 2017, section 4.2.

    Args:
        logits: float `[N, C]`, of images that were not trained on.
        labels: integer `[N]`.

    Returns:
        A number within 1/20 to 20; labels stay as they were, for order does.
    """

    def loss(logarithm: float) -> float:
        scaled = logits / math.exp(logarithm)
        return float(image_losses(scaled, labels).mean())

    bounds = (-_LARGEST_LOG, _LARGEST_LOG)
    optimum = minimize_scalar(loss, bounds=bounds, method="bounded")
    return math.exp(float(optimum.x))


def calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error in 15 bins of equal width, 0..1.

    It is the mean, over images, of the distance between the confidence of their bin and the share
    of it that is right (Guo et al. 2017, section 2).
    """
    shares = probabilities(logits)
    confidences = shares.max(axis=1)
    is_right = shares.argmax(axis=1) == labels
    bins = (confidences * BINS).astype(int)
    bins = np.minimum(bins, BINS - 1)
    excess = confidences - is_right
    gaps = np.bincount(bins, weights=excess, minlength=BINS)
    total = np.abs(gaps).sum()
    return float(total / len(labels))
