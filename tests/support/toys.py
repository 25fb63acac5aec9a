"""Small data and models that tests of callbacks train on, and what stops a training."""

import keras
import numpy as np


def two_classes(samples, features):
    """Returns normal inputs `[samples, features]`, and as classes whether their sum is positive."""
    x = np.random.default_rng(0).normal(size=(samples, features)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int32")


def line():
    """Returns eight inputs with three features, and what a linear model can fit to them."""
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    return x, x @ np.array([[1.0], [-2.0], [0.5]], "float32") + 3


def linear(optimizer, **options):
    """Returns a linear model of three features, all of whose weights are zero."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(optimizer, "mse", **options)
    return model


class Interrupt(keras.callbacks.Callback):
    """Stops training as Ctrl-C does, when the first epoch ends."""

    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt
