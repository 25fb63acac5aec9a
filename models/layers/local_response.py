"""Local response normalization (Krizhevsky et al. 2012, 3.3): channels inhibit their neighbours."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="epochal")
class LocalResponseNormalization(keras.layers.Layer):
    """`x / (bias + alpha * sum of x^2 over the nearest channels) ^ beta`.

    Takes `[..., C]` and returns it; no weights.

    Args:
        size: channels in the sum, odd (n in the paper); fewer at either end.
        bias, alpha, beta: constants of the formula (k, alpha and beta in the paper).
    """

    def __init__(
        self,
        size: int = 5,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if size < 1 or size % 2 == 0:
            raise ValueError(f"size must be odd and at least 1, got {size}.")
        self.size = size
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs: Any) -> Any:
        """Return the inhibited input."""
        channels = inputs.shape[-1]
        reach = self.size // 2
        margins = [[0, 0]] * (len(inputs.shape) - 1)
        margins.append([reach, reach])
        squares = ops.pad(ops.square(inputs), margins)
        total = 0
        for shift in range(self.size):
            total = total + squares[..., shift : shift + channels]
        divisor = ops.power(self.bias + self.alpha * total, self.beta)
        return inputs / divisor

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {
            **config,
            "size": self.size,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }
