"""Activations that TensorFlow does not fuse with the convolution and batch norm before them."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="epochal")
class UnfusedActivation(keras.layers.Activation):
    """Keras' `Activation` behind an operation that TensorFlow's graph optimizer does not look past.

    With oneDNN, TensorFlow 2.21 fuses a convolution, batch norm and tanh or mish behind it, and
    then has no kernel for that: "Fusion is not implemented: [FusedBatchNorm,Tanh]". It does so in
    inference alone, so that training passes.
    """

    def call(self, inputs: Any) -> Any:
        """Return the activation of the inputs."""
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            inputs = tf.ensure_shape(inputs, inputs.shape)
        return super().call(inputs)
