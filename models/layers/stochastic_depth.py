"""Stochastic depth: the branch of a residual block left out for some images, in training."""

from typing import Any

import keras
import tensorflow as tf

from epochal.models.layers.dropout import PerSampleDropout


@keras.saving.register_keras_serializable(package="epochal")
class StochasticDepth(PerSampleDropout):
    """Zeroes whole images, a share `rate` of them, and divides the rest by `1 - rate`.

    Between the last layer of a residual branch and the addition it leaves the identity for these
    images (Huang et al. 2016, arXiv:1603.09382). The division keeps the expectation that of the
    whole network, so that nothing is scaled at inference; the paper scales there instead. Images
    draw as in `PerSampleDropout`, whatever the number of devices.
    """

    def draws_shape(self, inputs: Any) -> Any:
        """Return the shape of what is drawn: one number an image."""
        ones = [1] * (len(inputs.shape) - 1)
        if keras.backend.backend() == "tensorflow":
            rows = tf.shape(inputs, tf.int64)[0]
            return tf.stack([rows, *ones])
        return (inputs.shape[0], *ones)
