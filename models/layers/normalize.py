"""Normalisation by features: what the first layer does where one mean a channel is not enough."""

import base64
import math
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="epochal")
class Normalize(keras.layers.Layer):
    """Subtracts a mean from each feature, and multiplies by a factor each, or by a matrix.

    Takes `[N, H, W, C]` of any dtype; its D = H * W * C features are the channels of the pixels in
    reading order. Returns the compute dtype, in the shape of the input, or `[N, 1, 1, k]` where the
    matrix leaves k < D components. The arithmetic is done in float32 (float64 under a float64
    policy) and only its result is rounded: float16 ends at 65,504, which sums of levels exceed.
    Nothing of it is a weight, since statistics of the training images do not train.

    Source: whitening and ZCA, Bell and Sejnowski 1997, "The independent components of natural
    scenes are edge filters".

    Args:
        mean: `[D]`, in units of 0..255.
        factors: `[D]`, or a matrix `[D, k]`.
    """

    def __init__(self, mean: Any, factors: Any, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.mean = np.asarray(mean, np.float32)
        self.factors = np.asarray(factors, np.float32)
        if self.mean.ndim != 1 or self.factors.shape[:1] != self.mean.shape:
            raise ValueError(
                "factors must be [D] or [D, k] for a mean [D], "
                f"got {self.factors.shape} for {self.mean.shape}."
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.factors).all()):
            raise ValueError("mean and factors must be finite, got some that are not.")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Raise ValueError if the statistics are for images of another size."""
        if math.prod(size or 0 for size in input_shape[1:]) != len(self.mean):
            raise ValueError(
                f"mean must hold one value a feature, got {len(self.mean)} "
                f"for images {tuple(input_shape[1:])}."
            )

    def call(self, inputs: Any) -> Any:
        """Return the normalised images."""
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        x = keras.ops.cast(inputs, dtype)
        x = keras.ops.reshape(x, [-1, len(self.mean)])
        x = x - keras.ops.convert_to_tensor(self.mean, dtype)
        factors = keras.ops.convert_to_tensor(self.factors, dtype)
        apply = keras.ops.multiply if self.factors.ndim == 1 else keras.ops.matmul
        x = apply(x, factors)
        shape = self.compute_output_shape(inputs.shape)
        x = keras.ops.reshape(x, [-1, *shape[1:]])
        return keras.ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input, or that of fewer components."""
        components = self.factors.shape[-1]
        if components == len(self.mean):
            return input_shape
        return (input_shape[0], 1, 1, components)

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` takes: arrays as text, since millions of numbers are many."""
        config: dict[str, Any] = super().get_config()
        return {**config, "mean": _to_text(self.mean), "factors": _to_text(self.factors)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Normalize":
        """Return the layer that `get_config` described."""
        arrays = {
            "mean": _to_array(config["mean"]),
            "factors": _to_array(config["factors"]),
        }
        return cls(**{**config, **arrays})


def _to_text(array: np.ndarray) -> dict[str, Any]:
    content = array.astype("<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(content).decode()}


def _to_array(text: dict[str, Any]) -> np.ndarray:
    content = base64.b64decode(text["float32"])
    return np.frombuffer(content, "<f4").reshape(text["shape"])
