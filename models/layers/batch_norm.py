"""Batch normalization on TensorFlow's fused kernel, which Keras 3 does without."""

from typing import Any

import keras

_NARROW = ("float32", "bfloat16", "float16")  # what the kernel computes in; its statistics are always float32


@keras.saving.register_keras_serializable(package="epochal")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' `BatchNormalization` (same arguments, weights and numbers), on TensorFlow's fused kernel where it applies.

    Stock Keras 3 computes mean, variance and result from separate element-wise operations, each of which reads and
    writes the whole activation, in float32 even under mixed precision (figures: `benchmarks/zoo_speed.py`). The kernel
    takes `[N, H, W, C]` in float32, bfloat16 or float16, normalised over the last axis by one device's batch. In every
    other case this is the stock layer: another axis or rank, float64, a mask, renorm, `synchronized`, another backend.
    Ioffe and Szegedy 2015 (arXiv 1502.03167).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalised input in the compute dtype; in training moves the statistics."""
        if not self._fits(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(self.moving_mean)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(self.moving_mean)
        weights = {"x": inputs, "scale": scale, "offset": offset, "epsilon": self.epsilon}
        if not (training and self.trainable):
            statistics = {"mean": self.moving_mean, "variance": self.moving_variance}
            return tf.raw_ops.FusedBatchNormV3(**weights, **statistics, is_training=False).y
        result = tf.raw_ops.FusedBatchNormV3(**weights, mean=[], variance=[], is_training=True)
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        # the kernel's variance is the unbiased estimate, Keras (like the paper in training) keeps the biased one
        self._move(result.batch_mean, result.batch_variance * (tf.maximum(count - 1, 1) / count))
        return result.y

    def _fits(self, inputs: Any, mask: Any) -> bool:
        plain = not (self.renorm or self.synchronized) and mask is None
        last = len(inputs.shape) == 4 and self.axis in (-1, 3)
        known = plain and last and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        return known and self.compute_dtype in _NARROW and keras.backend.backend() == "tensorflow"

    def _move(self, mean: Any, variance: Any) -> None:
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
