"""Softmax regression: the logits are an affine function of the pixels."""

import keras

from models.blocks import classifier


def softmax_regression(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]`; the problem is convex, so the weights start at zero."""
    x = keras.layers.Flatten(name="flatten")(x)
    return classifier(x, num_classes, initializer="zeros")
