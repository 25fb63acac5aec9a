"""Mean-only batch normalization (Salimans and Kingma 2016, arXiv 1602.07868, section 4)."""

from typing import Any

import keras
from keras import ops

from epochal.models.layers.part_of_batch import current_part


@keras.saving.register_keras_serializable(package="epochal")
class MeanOnlyBatchNormalization(keras.layers.Layer):
    """`x - mean + beta`, a mean for each channel of the last axis.

    The spread is left to weight normalization. The mean is that of the batch in training, of which
    a share of `1 - momentum` enters `moving_mean`, and `moving_mean` at inference or when the layer
    is not trainable. Computed in float32 (float64) whatever the precision.

    Args:
        momentum: of the moving mean.
        synchronized: whether replicas share their mean.
    """

    def __init__(self, *, momentum: float = 0.9, synchronized: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.synchronized = synchronized
        self.initializing = False

    def build(self, input_shape: Any) -> None:
        """Make the shift and the moving mean."""
        channels = (input_shape[-1],)
        self.beta = self.add_weight(
            name="beta",
            shape=channels,
            initializer="zeros",
        )
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=channels, initializer="zeros", trainable=False, autocast=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the centred and shifted input in the compute dtype."""
        x = ops.cast(inputs, self.variable_dtype)
        if self.initializing:
            self.moving_mean.assign(self._batch_mean(x))
        mean = self.moving_mean
        if training and self.trainable:
            mean = self._batch_mean(x)
            self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
        return ops.cast(x - mean + ops.cast(self.beta, x.dtype), self.compute_dtype)

    def _batch_mean(self, x: Any) -> Any:
        axes = list(range(len(x.shape) - 1))
        part = current_part()
        if part is not None:
            x = x[: part.rows]
        mean, _ = ops.moments(x, axes, synchronized=self.synchronized)
        if part is not None:
            [mean] = part.replace_if_empty([mean], [self.moving_mean])
        return mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {**config, "momentum": self.momentum, "synchronized": self.synchronized}
