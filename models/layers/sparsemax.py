"""Sparsemax over the channels: their nearest point among those that sum to 1, none negative."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="epochal")
def sparsemax(x: Any) -> Any:
    """Return the sparsemax of `[..., C]`, computed in float32 at least.

    Martins and Astudillo 2016, arXiv:1602.02068, section 2.2. Keras 3.15 adds up sums in place of
    channels, and counts channels in their own dtype: TensorFlow refuses that in float16.
    """
    channels = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    ordered = ops.flip(ops.sort(channels, axis=-1), axis=-1)
    ranks = ops.cast(ops.arange(1, x.shape[-1] + 1), channels.dtype)
    is_positive = 1 + ranks * ordered > ops.cumsum(ordered, axis=-1)
    positive = ops.where(is_positive, ordered, 0)
    count = ops.sum(ops.cast(is_positive, channels.dtype), axis=-1, keepdims=True)
    threshold = (ops.sum(positive, axis=-1, keepdims=True) - 1) / count
    return ops.cast(ops.relu(channels - threshold), x.dtype)
