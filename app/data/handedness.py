"""Handedness: whether images can be told from their mirror images, as characters can."""

import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import Split
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape
from epochal.app.streams import generator

# Of 2,000 images MNIST comes to 0.96, photographs (CIFAR-10) to 0.50, emoji to 0.70.
HANDED = 0.8
_IMAGES = 2000
_SIDE = 16  # pixels; coarse shapes tell left from right
_RIDGE = 1.0  # of the mean eigenvalue


def told_from_mirrored(split: Split, shape: ImageShape, seed: int) -> float:
    """Return the share of images that a linear rule tells from their mirror images.

    Each class has a rule of its own, so that `b` may be the mirror image of `d`: ridge regression
    on the image minus its mirror image, fitted to one half of the class and tried on the other, and
    the other way round. 0.5 is chance. Where images look alike from left and right (Lin et al.
    2020, Visual Chirality, arXiv:2006.09512, for when they do not), mirrored ones are more of the
    same; where they can be told apart, mirrored ones are what no test image looks like.

    Args:
        split: the training images, of which up to 2,000 are looked at
        shape: their sizes
        seed: of the run; chooses the images
    """
    order = generator(seed, "handedness").permutation(len(split))
    drawn = split.subset(order[:_IMAGES])
    parts = []
    for images, _ in evaluation_batches(drawn, shape):
        small = tf.image.resize(
            images,
            (_SIDE, _SIDE),
            antialias=True,
        )
        mirrored = tf.reverse(small, axis=[2])
        parts.append(tf.reshape(small - mirrored, (len(small), -1)).numpy())
    differences = np.concatenate(parts)
    halves = np.arange(len(differences)) % 2
    told = []
    for label in np.unique(drawn.labels):
        of_class = drawn.labels == label
        for half in (0, 1):
            fitted = differences[of_class & (halves != half)]
            tried = differences[of_class & (halves == half)]
            if len(fitted) and len(tried):
                told.append(_told(fitted, tried))
    if not told:
        return 0.5
    return float(np.mean(np.concatenate(told)))


def _told(fitted: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """Return 1 for each image that the rule tells from its mirror image, 0.5 for a draw, else 0."""
    count = len(fitted)
    products = fitted @ fitted.T
    ridge = _RIDGE * np.trace(products) / count
    if ridge == 0:
        return np.full(len(tried), 0.5)
    damped = products + ridge * np.eye(count)
    targets = np.ones(count)
    multipliers = np.linalg.solve(damped, targets)
    rule = fitted.T @ multipliers
    scores = tried @ rule
    return np.sign(scores) / 2 + 0.5
