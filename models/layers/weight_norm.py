"""Weight normalization (Salimans and Kingma 2016, arXiv 1602.07868).

Direction and length of a weight are learned apart.
"""

from typing import Any

import keras
from keras import ops

from epochal.models.layers.convolution import Convolution
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization


class _WeightNorm:
    """Replaces a layer's kernel by `gain * kernel / norm(kernel)`.

    Every output channel has a gain and a norm.

    Args:
        gain: initial value of each gain: sqrt(2) keeps the variance under a ReLU, 1 without one.
    """

    unit_axes: tuple[int, ...]  # axes of the kernel that the norm of one output channel sums over
    activation: Any

    def __init__(self, *args: Any, gain: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial_gain = gain
        self.initializing = False

    def build(self, input_shape: Any) -> None:
        """Make the kernel, the bias and the gains."""
        super().build(input_shape)  # type: ignore[misc]
        shape = list(self.direction.shape)
        for axis in self.unit_axes:
            shape[axis] = 1
        self.gain = self.add_weight(  # type: ignore[attr-defined]
            name="gain", shape=shape, initializer=keras.initializers.Constant(self.initial_gain)
        )

    @property
    def direction(self) -> Any:
        """Return the weight whose length does not matter, called `kernel` in checkpoints."""
        return self._kernel

    @property
    def kernel(self) -> Any:
        """Return the normalised kernel, with which the layer computes."""
        compute_dtype: str = self.compute_dtype  # type: ignore[attr-defined]
        dtype = "float64" if compute_dtype == "float64" else "float32"
        direction = ops.cast(self.direction, dtype)
        squares = ops.sum(
            ops.square(direction),
            axis=self.unit_axes,
            keepdims=True,
        )
        kernel = ops.cast(self.gain, dtype) * direction / ops.sqrt(squares)
        return ops.cast(kernel, compute_dtype)

    @kernel.setter
    def kernel(self, weight: Any) -> None:
        # Keras' depthwise layer makes its kernel under this name
        self._kernel = weight

    def call(self, inputs: Any, **options: Any) -> Any:
        """Return the output of the layer without normalization, for the normalised kernel."""
        if self.initializing:
            self._initialize_from(inputs)
        return super().call(inputs, **options)  # type: ignore[misc]

    def _initialize_from(self, inputs: Any) -> None:
        """Set gains and bias so that outputs have mean 0 and variance 1 for these inputs."""
        activation = self.activation
        self.activation = None
        try:
            outputs = ops.cast(super().call(inputs), "float32")  # type: ignore[misc]
        finally:
            self.activation = activation
        axes = tuple(range(len(outputs.shape) - 1))
        # the gain of a channel that never varies stays finite
        deviation = ops.maximum(ops.std(outputs, axes), 1e-6)
        self.gain.assign(self.gain / ops.reshape(deviation, self.gain.shape))
        if self.use_bias:  # type: ignore[attr-defined]
            self.bias.assign((self.bias - ops.mean(outputs, axes)) / deviation)  # type: ignore[attr-defined]

    def save_own_variables(self, store: Any) -> None:
        """Store every weight.

        The stock layers' form leaves out the gain and stores the normalised kernel.
        """
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Load every weight that `save_own_variables` stored."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor takes."""
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
    """Set every gain and bias so that channels have mean 0 and variance 1 on these images.

    Channels are taken before their non-linearity. Section 3 of the paper; the moving mean of
    mean-only batch norm stands in place of a bias. One eager pass in inference mode; a model
    without weight normalization stays as it is.
    """
    normalised = []
    for layer in model._flatten_layers():
        if isinstance(layer, _WeightNorm | MeanOnlyBatchNormalization):
            normalised.append(layer)
    if not normalised:
        return
    for layer in normalised:
        layer.initializing = True
    try:
        model(images, training=False)
    finally:
        for layer in normalised:
            layer.initializing = False
