"""Batch normalization on TensorFlow's fused kernel, which Keras 3 does without."""

from typing import Any

import keras

from epochal.models.layers.part_of_batch import current_part

# dtypes that the kernel takes; its weights and statistics are always float32
_KERNEL_DTYPES = ("float32", "bfloat16", "float16")


@keras.saving.register_keras_serializable(package="epochal")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' `BatchNormalization` on TensorFlow's fused kernel, where it applies.

    Arguments, weights and numbers are those of Keras. Stock Keras 3 computes mean, variance and
    result from separate element-wise operations, each of which reads and writes the whole
    activation, in float32 even under mixed precision (figures: `benchmarks/zoo_speed.py`). The
    kernel takes `[N, H, W, C]` in float32, bfloat16 or float16 with weights in float32, normalised
    over the last axis by one device's batch. In every other case this is the stock layer: another
    axis or rank, another dtype, a mask, renorm, `synchronized`, another backend.
    Ioffe and Szegedy 2015 (arXiv 1502.03167).
    """

    # On CPUs, the channels are padded to a multiple of this in training: without that the kernel
    # takes one number after the other (128 x 32 x 32 x 36, bfloat16, one core: 56 ms forward and
    # backward, padded 10 ms).
    cpu_channel_multiple = 16

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the normalised input in the compute dtype; in training move the statistics."""
        if mask is not None or not self._kernel_applies(inputs):
            return super().call(inputs, training=training, mask=mask)
        if training and self.trainable:
            return self._normalise_by_batch(inputs)
        import tensorflow as tf

        scale, offset = self._scale_and_offset()
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=scale,
            offset=offset,
            mean=self.moving_mean,
            variance=self.moving_variance,
            epsilon=self.epsilon,
            is_training=False,
        )
        return result.y

    def _kernel_applies(self, inputs: Any) -> bool:
        if keras.backend.backend() != "tensorflow" or self.renorm or self.synchronized:
            return False
        if len(inputs.shape) != 4 or self.axis not in (-1, 3):
            return False
        if keras.backend.standardize_dtype(inputs.dtype) != self.compute_dtype:
            return False
        return self.compute_dtype in _KERNEL_DTYPES and self.variable_dtype == "float32"

    def _scale_and_offset(self) -> tuple[Any, Any]:
        import tensorflow as tf

        scale = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones_like(self.moving_mean)
        offset = tf.convert_to_tensor(self.beta) if self.center else tf.zeros_like(self.moving_mean)
        return scale, offset

    def _normalise_by_batch(self, inputs: Any) -> Any:
        import tensorflow as tf

        scale, offset = self._scale_and_offset()
        channels = inputs.shape[-1]
        padding = 0
        if not tf.config.list_logical_devices("GPU"):
            padding = -channels % self.cpu_channel_multiple
        x = inputs
        if padding:
            x = tf.pad(x, [[0, 0], [0, 0], [0, 0], [0, padding]])
            scale = tf.pad(scale, [[0, padding]])
            offset = tf.pad(offset, [[0, padding]])
        result = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=scale,
            offset=offset,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        y = result.y
        mean = result.batch_mean
        variance = result.batch_variance
        if padding:
            # tf.slice: the gradient of y[..., :channels] goes element by element
            y = tf.slice(y, [0, 0, 0, 0], [-1, -1, -1, channels])
            mean = mean[:channels]
            variance = variance[:channels]
        self._move_statistics(inputs, mean, variance)
        return y

    def _move_statistics(self, inputs: Any, mean: Any, variance: Any) -> None:
        """Let the batch's moments enter the moving statistics.

        Those of no images, a device's share where few are left, are not numbers and do not enter.
        """
        import tensorflow as tf

        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        # the kernel's variance is the unbiased estimate, Keras (like the paper in training) keeps
        # the biased one
        variance = variance * (tf.maximum(count - 1, 1) / count)
        part = current_part()
        any_rows = count > 0 if part is None else part.rows > 0
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moved = moving * self.momentum + batch * (1 - self.momentum)
            moving.assign(
                tf.where(
                    any_rows,
                    moved,
                    tf.convert_to_tensor(moving),
                )
            )

    def _moments(self, inputs: Any, mask: Any) -> Any:
        """Return Keras' moments of the rows that count; without any, the moving statistics."""
        part = current_part()
        if part is None:
            return super()._moments(inputs, mask)
        moments = super()._moments(inputs[: part.rows], mask)
        return part.replace_if_empty(moments, (self.moving_mean, self.moving_variance))
