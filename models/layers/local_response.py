"""Local response normalization (Krizhevsky et al. 2012, section 3.3): neighbouring channels inhibit each other."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="epochal")
class LocalResponseNormalization(keras.layers.Layer):
    """`x / (bias + alpha * sum of x^2 over the nearest channels) ^ beta`; takes `[..., C]` and returns it; no weights.

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
        """Returns the inhibited input."""
        squares = ops.square(inputs)
        channels = inputs.shape[-1]
        reach = self.size // 2
        padded = ops.pad(squares, [[0, 0]] * (len(inputs.shape) - 1) + [[reach, reach]])
        total = sum(padded[..., shift : shift + channels] for shift in range(self.size))
        return inputs / ops.power(self.bias + self.alpha * total, self.beta)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        config: dict[str, Any] = super().get_config()
        return {
            **config,
            "size": self.size,
            "bias": self.bias,
            "alpha": self.alpha,
            "beta": self.beta,
        }
