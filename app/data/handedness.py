"""Handedness: whether images can be told from their mirror images, as characters can."""

import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import Split

# Of 2,000 images digits come to 0.96, photographs (CIFAR-10) to 0.50, emoji to 0.69.
HANDED = 0.8
_IMAGES = 2000
_SIDE = 16  # pixels; coarse shapes tell left from right
_RIDGE = 1.0  # of the mean eigenvalue


def told_from_mirrored(split: Split, seed: int, *, images: int = _IMAGES) -> float:
    """Return the share of images that a linear rule tells from their mirror images.

    Each class has a rule of its own, so that `b` may be the mirror image of `d`: ridge regression
    on the image minus its mirror image, fitted to one half of the class and tried on the other, and
    the other way round. 0.5 is chance. Where images look alike from left and right (Lin et al.
    2020, Visual Chirality, arXiv:2006.09512, for when they do not), mirrored ones are more of the
    same; where they can be told apart, mirrored ones are what no test image looks like.

    Args:
        split: the training images
        seed: of the images that are looked at
        images: to look at
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(split))
    drawn = split.subset(order[:images])
    small = tf.image.resize(
        drawn.read(),
        (_SIDE, _SIDE),
        antialias=True,
    )
    pixels = small.numpy()
    differences = (pixels - pixels[:, :, ::-1]).reshape(len(pixels), -1)
    halves = np.arange(len(pixels)) % 2
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
    products = fitted @ fitted.T
    ridge = _RIDGE * np.trace(products) / len(fitted)
    if ridge == 0:
        return np.full(len(tried), 0.5)
    weights = np.linalg.solve(products + ridge * np.eye(len(fitted)), np.ones(len(fitted)))
    scores = tried @ (fitted.T @ weights)
    return np.sign(scores) / 2 + 0.5
