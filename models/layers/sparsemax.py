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
    dtype = keras.backend.result_type(x.dtype, "float32")
    channels = ops.cast(x, dtype)
    ascending = ops.sort(channels, axis=-1)
    descending = ops.flip(ascending, axis=-1)
    ranks = ops.arange(1, x.shape[-1] + 1, dtype=dtype)
    sums = ops.cumsum(descending, axis=-1)
    is_positive = 1 + ranks * descending > sums
    positive = ops.where(is_positive, descending, 0)
    excess = ops.sum(positive, axis=-1, keepdims=True) - 1
    ones = ops.cast(is_positive, dtype)
    count = ops.sum(ones, axis=-1, keepdims=True)
    result = ops.relu(channels - excess / count)
    return ops.cast(result, x.dtype)
