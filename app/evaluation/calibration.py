"""How far a classifier's probabilities can be believed, and the one number that mends most of what is wrong."""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from epochal.app.evaluation.metrics import evaluate_logits, probabilities

BINS = 15
_RANGE = math.log(20.0)  # of the temperature's logarithm, both ways


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 for which softmax(logits / T) has the least cross-entropy (Guo et al. 2017, section 4.2).

    Args:
        logits: float `[N, C]`, of images that were not trained on.
        labels: integer `[N]`.

    Returns:
        A number within 1/20 to 20; labels stay as they were, for order does.
    """

    def loss(logarithm: float) -> float:
        return evaluate_logits(logits / math.exp(logarithm), labels).loss

    return math.exp(float(minimize_scalar(loss, bounds=(-_RANGE, _RANGE), method="bounded").x))


def calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error in 15 bins of equal width, 0..1 (Guo et al. 2017, section 2).

    The mean, over images, of the distance between the confidence of their bin and the share of it that is right.
    """
    chances = probabilities(logits)
    confidence = chances.max(axis=1)
    right = chances.argmax(axis=1) == labels
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(places, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
