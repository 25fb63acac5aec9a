"""Weight normalization (Salimans and Kingma 2016, arXiv 1602.07868): direction and length learned apart."""

from typing import Any

import keras
from keras import ops

from epochal.models.layers.convolution import Convolution
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization


class _WeightNorm:
    """Replaces a layer's kernel by `gain * kernel / norm(kernel)`, one gain and one norm an output channel.

    Args:
        gain: what each gain starts at: sqrt(2) keeps the variance under a ReLU, 1 without one.
    """

    unit_axes: tuple[int, ...]  # of the kernel, over which the norm of one output channel is taken
    activation: Any

    def __init__(self, *args: Any, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial_gain = gain
        self.initializing = False

    def build(self, input_shape: Any) -> None:
        """Makes the kernel, the bias and the gains."""
        super().build(input_shape)  # type: ignore[misc]
        shape = [
            1 if axis in self.unit_axes else size for axis, size in enumerate(self.direction.shape)
        ]
        self.gain = self.add_weight(  # type: ignore[attr-defined]
            name="gain", shape=shape, initializer=keras.initializers.Constant(self.initial_gain)
        )

    @property
    def direction(self) -> Any:
        """The weight whose length does not matter, called `kernel` in checkpoints."""
        return self._kernel

    @property
    def kernel(self) -> Any:
        """What the layer computes with."""
        dtype: str = self.compute_dtype  # type: ignore[attr-defined]
        direction = ops.cast(self.direction, "float64" if dtype == "float64" else "float32")
        length = ops.sqrt(ops.sum(ops.square(direction), axis=self.unit_axes, keepdims=True))
        kernel = ops.cast(self.gain, direction.dtype) * direction / length
        return ops.cast(kernel, dtype)

    @kernel.setter
    def kernel(
        self, weight: Any
    ) -> None:  # Keras' depthwise layer makes its kernel under this name
        self._kernel = weight

    def call(self, inputs: Any, **options: Any) -> Any:
        """Returns what the layer without normalization would, with the normalised kernel."""
        if self.initializing:
            self._initialize_from(inputs)
        return super().call(inputs, **options)  # type: ignore[misc]

    def _initialize_from(self, inputs: Any) -> None:
        activation = self.activation
        self.activation = None
        try:
            outputs = ops.cast(super().call(inputs), "float32")  # type: ignore[misc]
        finally:
            self.activation = activation
        axes = tuple(range(len(outputs.shape) - 1))
        deviation = ops.maximum(
            ops.std(outputs, axes), 1e-6
        )  # a channel that never varies stays finite
        self.gain.assign(self.gain / ops.reshape(deviation, self.gain.shape))
        if self.use_bias:  # type: ignore[attr-defined]
            self.bias.assign((self.bias - ops.mean(outputs, axes)) / deviation)  # type: ignore[attr-defined]

    def save_own_variables(self, store: Any) -> None:
        """Stores every weight; the stock layers' own form leaves out the gain and stores the normalised kernel."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Takes every weight back."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes."""
        config: dict[str, Any] = super().get_config()  # type: ignore[misc]
        return {**config, "gain": self.initial_gain}


@keras.saving.register_keras_serializable(package="epochal")
class WeightNormDense(_WeightNorm, keras.layers.Dense):
    """`Dense` under weight normalization."""

    unit_axes = (0,)


@keras.saving.register_keras_serializable(package="epochal")
class WeightNormConv2D(_WeightNorm, Convolution):  # type: ignore[misc]
    """`Convolution` under weight normalization."""

    unit_axes = (0, 1, 2)


@keras.saving.register_keras_serializable(package="epochal")
class WeightNormDepthwiseConv2D(_WeightNorm, keras.layers.DepthwiseConv2D):
    """`DepthwiseConv2D` (one filter a channel) under weight normalization."""

    unit_axes = (0, 1)


def initialize_from(model: keras.Model, images: Any) -> None:
    """Sets every gain and bias so that, on these images, each channel before its non-linearity has mean 0, variance 1.

    Section 3 of the paper; in place of a bias, the moving mean of mean-only batch norm. One eager pass in inference
    mode; a model without weight normalization stays as it is.
    """
    kinds = (_WeightNorm, MeanOnlyBatchNormalization)
    normalised = [layer for layer in model._flatten_layers() if isinstance(layer, kinds)]
    for layer in normalised:
        layer.initializing = True
    try:
        if normalised:
            model(images, training=False)
    finally:
        for layer in normalised:
            layer.initializing = False
