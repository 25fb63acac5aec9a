"""Maxout (Goodfellow et al. 2013, arXiv 1302.4389): the largest of k linear pieces."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="epochal")
class Maxout(keras.layers.Layer):
    """Takes `[..., k * C]` and returns `[..., C]`, the largest of k neighbouring channels.

    It has no weights. Behind a dense layer or convolution with k times the channels it is a maxout
    unit.

    Args:
        pieces: k.
    """

    def __init__(self, pieces: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if pieces < 1:
            raise ValueError(f"pieces must be at least 1, got {pieces}.")
        self.pieces = pieces

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Raise ValueError where the channels are no multiple of the pieces."""
        if input_shape[-1] is None or input_shape[-1] % self.pieces:
            raise ValueError(
                f"Maxout of {self.pieces} pieces needs a multiple of {self.pieces} channels, "
                f"got {input_shape[-1]}."
            )

    def call(self, inputs: Any) -> Any:
        """Return the largest of each `pieces` channels."""
        *outer, channels = ops.shape(inputs)
        pieces = ops.reshape(inputs, (*outer, channels // self.pieces, self.pieces))
        return ops.max(pieces, axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape with fewer channels."""
        *outer, channels = input_shape
        if channels is not None:
            channels //= self.pieces
        return (*outer, channels)

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {**config, "pieces": self.pieces}
