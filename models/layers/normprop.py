"""Normalization propagation (Arpit et al. 2016, arXiv 1603.01431): standardises in closed form.

It undoes what a ReLU does to the moments of N(0, 1).
"""

import math
from typing import Any

import keras
from keras import ops

MEAN = math.sqrt(1 / (2 * math.pi))  # of max(0, N(0, 1))
DEVIATION = math.sqrt((1 - 1 / math.pi) / 2)  # of the same
GAIN = 1 / 1.21  # the paper's initial gain: keeps the singular values of the Jacobian near 1


@keras.saving.register_keras_serializable(package="epochal")
class StandardizedReLU(keras.layers.Layer):
    """`(max(0, x) - MEAN) / DEVIATION`: zero mean and unit variance where x is N(0, 1).

    Takes any shape and returns it; no weights, no batch statistics. Stands behind a
    weight-normalised layer with gain and bias.
    """

    def call(self, inputs: Any) -> Any:
        """Return the rectified and standardised input."""
        return (ops.relu(inputs) - MEAN) / DEVIATION

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape
