"""Batch normalization on TensorFlow's fused kernel, which Keras 3 does without."""

from typing import Any

import keras

from epochal.models.layers.part_of_batch import current_part

_NARROW = (
    "float32",
    "bfloat16",
    "float16",
)  # what the kernel takes; its weights and statistics are always float32
_LANES = 16  # channels that the kernel for CPUs takes at once


@keras.saving.register_keras_serializable(package="epochal")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' `BatchNormalization` (same arguments, weights and numbers), on TensorFlow's fused kernel where it applies.

    Stock Keras 3 computes mean, variance and result from separate element-wise operations, each of which reads and
    writes the whole activation, in float32 even under mixed precision (figures: `benchmarks/zoo_speed.py`). The kernel
    takes `[N, H, W, C]` in float32, bfloat16 or float16 with weights in float32, normalised over the last axis by one
    device's batch. In every other case this is the stock layer: another axis or rank, another dtype, a mask, renorm,
    `synchronized`, another backend.
    Ioffe and Szegedy 2015 (arXiv 1502.03167).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalised input in the compute dtype; in training moves the statistics."""
        if not self._fits(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(self.moving_mean)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(self.moving_mean)
        if not (training and self.trainable):
            statistics = {
                "mean": self.moving_mean,
                "variance": self.moving_variance,
                "epsilon": self.epsilon,
            }
            kernel = tf.raw_ops.FusedBatchNormV3
            return kernel(x=inputs, scale=scale, offset=offset, **statistics, is_training=False).y
        y, mean, variance = _normalised(inputs, scale, offset, self.epsilon)
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        part = current_part()
        # the kernel's variance is the unbiased estimate, Keras (like the paper in training) keeps the biased one
        self._move(
            mean,
            variance * (tf.maximum(count - 1, 1) / count),
            some=part.own > 0 if part else count > 0,
        )
        return y

    def _moments(self, inputs: Any, mask: Any) -> Any:
        """Keras' moments, of the rows that count; where there are none, the statistics as they are."""
        part = current_part()
        if part is None:
            return super()._moments(inputs, mask)
        return part.or_else(
            super()._moments(inputs[: part.own], mask),
            (self.moving_mean, self.moving_variance),
        )

    def _fits(self, inputs: Any, mask: Any) -> bool:
        plain = not (self.renorm or self.synchronized) and mask is None
        last = len(inputs.shape) == 4 and self.axis in (-1, 3)
        known = (
            plain and last and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )
        narrow = self.compute_dtype in _NARROW and self.variable_dtype == "float32"
        return known and narrow and keras.backend.backend() == "tensorflow"

    def _move(self, mean: Any, variance: Any, *, some: Any) -> None:
        """Moves the statistics; those of no images, a device's share where few are left, are not numbers."""
        import tensorflow as tf

        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = moving * self.momentum + batch * (1 - self.momentum)
            moving.assign(tf.where(some, moved, tf.convert_to_tensor(moving)))


def _normalised(x: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """The batch normalised, its mean and its variance.

    On CPUs, channels that are no multiple of 16 get company: without it the kernel takes one number after the other
    (128 x 32 x 32 x 36, bfloat16, one core: 56 ms forward and backward, padded 10 ms).
    """
    import tensorflow as tf

    channels = x.shape[-1]
    more = 0 if tf.config.list_logical_devices("GPU") else -channels % _LANES
    if more:
        x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, more]])
        scale, offset = (tf.pad(weight, [[0, more]]) for weight in (scale, offset))
    kernel = tf.raw_ops.FusedBatchNormV3
    result = kernel(
        x=x, scale=scale, offset=offset, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    y = result.y
    mean = result.batch_mean
    variance = result.batch_variance
    if not more:
        return y, mean, variance
    # tf.slice: the gradient of y[..., :channels] goes element by element
    return tf.slice(y, [0, 0, 0, 0], [-1, -1, -1, channels]), mean[:channels], variance[:channels]
