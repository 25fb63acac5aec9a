"""Standardisation, the first layer of every model: stored images get zero mean, unit deviation."""

import math
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="epochal")
class Standardize(keras.layers.Layer):
    """Subtracts a mean and divides by a deviation, both per channel.

    Takes `[N, H, W, C]` of any dtype with values 0..255 and returns the same shape in the compute
    dtype. The arithmetic is done in float32 (float64 under a float64 policy) and only its result is
    rounded: the mean alone would lose up to half a grey level in bfloat16.

    Args:
        mean: one value a channel, in units of 0..255; None stands for zeros.
        deviation: one value a channel, in units of 0..255, each above 0; None stands for ones.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        deviation: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.mean = _to_finite_floats("mean", mean)
        self.deviation = _to_finite_floats("deviation", deviation)
        if self.deviation and min(self.deviation) <= 0:
            raise ValueError(
                f"deviation must be above 0 in every channel, got {self.deviation}; "
                "use 1 for a channel that never varies."
            )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Raise ValueError if the statistics are for images with another number of channels."""
        for name, values in (("mean", self.mean), ("deviation", self.deviation)):
            if values is not None and len(values) != input_shape[-1]:
                raise ValueError(
                    f"{name} must hold one value a channel, "
                    f"got {values} for {input_shape[-1]} channels."
                )

    def call(self, inputs: Any) -> Any:
        """Return the standardised images."""
        dtype = "float64" if self.compute_dtype == "float64" else "float32"
        x = keras.ops.cast(inputs, dtype)
        if self.mean is not None:
            x = x - keras.ops.convert_to_tensor(self.mean, dtype)
        if self.deviation is not None:
            x = x / keras.ops.convert_to_tensor(self.deviation, dtype)
        return keras.ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {**config, "mean": self.mean, "deviation": self.deviation}


def _to_finite_floats(name: str, values: Sequence[float] | None) -> list[float] | None:
    if values is None:
        return None
    numbers = [float(value) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name} must be finite in every channel, got {numbers}.")
    return numbers
