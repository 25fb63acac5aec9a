"""Elastic deformation: pixels displaced by a smooth random field."""

from dataclasses import dataclass

import tensorflow as tf

from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.smoothing import smoothing_matrix

_STREAM = 4


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """A field of independent displacements from -1 to 1, smoothed by a Gaussian and multiplied.

    Simard, Steinkraus and Platt 2003, Best practices for convolutional neural networks, section 2.

    Attributes:
        alpha: factor, in pixels; 34 for the 28 pixels of MNIST.
        sigma: deviation of the Gaussian in pixels; 4 there.
    """

    alpha: float
    sigma: float = 4.0

    def field(self, side: int, draws: Draws) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the displacements down and right in pixels, float32 `[n, side, side]` each."""
        random = 2 * draws.uniform(_STREAM, 2 * side * side) - 1
        fields = tf.reshape(random, [-1, 2, side, side])
        matrix = tf.constant(smoothing_matrix(side, self.sigma))
        smooth = self.alpha * tf.matmul(tf.matmul(matrix, fields), matrix, transpose_b=True)
        return smooth[:, 0], smooth[:, 1]
