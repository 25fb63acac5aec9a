"""Softmax regression: the logits are an affine function of the pixels."""

import keras

from epochal.models.blocks import Style
from epochal.models.heads import classifier


def softmax_regression(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`; the style has no influence.

    The problem is convex, so the weights start at zero.
    """
    x = keras.layers.Flatten(name="flatten")(x)
    return classifier(x, num_classes, initializer="zeros")
