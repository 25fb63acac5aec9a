"""Building blocks of the families: functions from a tensor to a tensor.

The name that a block gives to a layer is the path of its weights in checkpoints.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.convolution import Convolution
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.maxout import Maxout
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization
from epochal.models.layers.normprop import GAIN, StandardizedReLU
from epochal.models.layers.scaled_tanh import scaled_tanh
from epochal.models.layers.sparsemax import sparsemax
from epochal.models.layers.stochastic_depth import StochasticDepth
from epochal.models.layers.unfused import UnfusedActivation
from epochal.models.layers.weight_norm import (
    WeightNormConv2D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)

NORMS = ("batch", "layer", "weight", "weight_mean", "normprop", "none")
SHIFTING_NORMS = ("batch", "layer", "weight_mean")  # they have an offset, so a bias would be idle
WEIGHT_NORMS = ("weight", "weight_mean", "normprop")  # they normalise weights, not activations
PIECES = 2  # of a maxout unit


@dataclass(frozen=True, kw_only=True)
class Style:
    """The normalisation and the non-linearity of a network.

    Its methods add convolutions and dense layers in this style.

    Args:
        norm: "batch" (Ioffe and Szegedy 2015), "layer" (all features of a sample together, Ba et
            al. 2016), "weight" (Salimans and Kingma 2016), "weight_mean" (its section 4: with
            mean-only batch norm), "normprop" (Arpit et al. 2016; with "relu" only) or "none".
        activation: "prelu" (a slope a channel, from 0.25), "leaky_relu" (slope 0.01), "scaled_tanh"
            (LeCun), "maxout" (two pieces) or the name of a Keras activation.
        bias: whether convolutions have one even where a normalisation behind them makes it idle.
        dropout: share of the features that the network's dropout layers drop in training (None: the
            network's own; Srivastava et al. 2014).
        input_dropout: the same of the pixels, before the first dense layer.
        stochastic_depth: share of the images for which the branch of the last residual block is
            left out in training; it rises from the input linearly (Huang et al. 2016,
            arXiv:1603.09382).
        padding: "symmetric", as in the papers and in PyTorch, or TensorFlow's "same", which with
            stride 2 pads an even image at the far side only.
        epsilon, momentum: of batch norm; `1 - momentum` of a batch's moments enter the moving
            statistics.
    """

    norm: str = "batch"
    activation: str = "relu"
    bias: bool = False
    dropout: float | None = None
    input_dropout: float = 0.0
    stochastic_depth: float = 0.0
    padding: str = "symmetric"
    epsilon: float = 1e-5
    momentum: float = 0.9

    def __post_init__(self) -> None:
        for name in ("dropout", "input_dropout", "stochastic_depth"):
            rate = getattr(self, name)
            if rate is not None and not 0 <= rate < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {rate}.")
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}.")
        if self.activation in _UNSUITABLE:
            raise ValueError(
                f"activation {self.activation!r} {_UNSUITABLE[self.activation]}; take relu."
            )
        if not _is_activation(self.activation):
            known = ", ".join([*_ACTIVATIONS, "maxout"])
            raise ValueError(
                f"activation must be {known} or the name of a Keras activation, "
                f"got {self.activation!r}."
            )
        if self.norm == "normprop" and self.activation != "relu":
            raise ValueError(f"norm 'normprop' needs the activation relu, got {self.activation!r}.")

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int | tuple[int, int] = 3,
        *,
        name: str,
        stride: int = 1,
        **options: Any,
    ) -> keras.KerasTensor:
        """Add a convolution called `name`.

        `[N, H, W, C]` becomes `[N, ceil(H / stride), ceil(W / stride), filters]`. Symmetric padding
        centres the results on the pixels that a subsampling shortcut keeps; TensorFlow's "same"
        with stride 2 centres them a pixel away.

        Args:
            options: further ones of Keras' layer, such as `groups`, or `padding` instead of the
                style's.
        """
        groups = options.get("groups", 1)
        if x.shape[-1] % groups or filters % groups:
            raise ValueError(
                f"groups must divide the channels, {x.shape[-1]} in and {filters} out; "
                f"got {groups}."
            )
        if "padding" not in options and self.padding == "same":
            options["padding"] = "same"
        if "padding" not in options:
            x, options["padding"] = _pad(
                x,
                kernel,
                stride,
                name,
            )
        options.setdefault("kernel_initializer", self.initializer())
        layer_class: Any = WeightNormConv2D if self._normalises_weights else Convolution
        layer = layer_class(
            filters,
            kernel,
            stride,
            use_bias=self._has_bias,
            name=name,
            **self._gain(),
            **options,
        )
        return layer(x)

    def depthwise(
        self, x: keras.KerasTensor, kernel: int = 3, *, stride: int = 1, name: str
    ) -> keras.KerasTensor:
        """Add a convolution of each channel by itself.

        Its precision is that of `depthwise_dtype`.
        """
        padding = self.padding
        if padding == "symmetric":
            x, padding = _pad(x, kernel, stride, name)
        layer_class: Any = layers.DepthwiseConv2D
        if self._normalises_weights:
            layer_class = WeightNormDepthwiseConv2D
        layer = layer_class(
            kernel,
            stride,
            padding=padding,
            use_bias=self._has_bias,
            depthwise_initializer=self.initializer(depthwise=True),
            dtype=depthwise_dtype(stride),
            name=name,
            **self._gain(),
        )
        return layer(x)

    def norm_layer(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Add the layer that normalises activations, if the style has one."""
        if self.norm == "batch":
            return batch_norm(
                x,
                epsilon=self.epsilon,
                momentum=self.momentum,
                name=f"{name}_bn",
            )
        if self.norm == "layer":
            return layers.GroupNormalization(
                groups=1,
                epsilon=self.epsilon,
                name=f"{name}_ln",
            )(x)
        if self.norm == "weight_mean":
            return MeanOnlyBatchNormalization(
                synchronized=synchronized(),
                name=f"{name}_mean",
            )(x)
        return x

    def activate(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Add the non-linearity, `{name}_{activation}`."""
        name = f"{name}_{self.activation}"
        if self.norm == "normprop":
            return StandardizedReLU(name=name)(x)
        if self.activation == "maxout":
            raise ValueError(
                "activation 'maxout' halves the channels, which only plain networks allow for; "
                "take relu."
            )
        if self.activation in _ACTIVATIONS:
            return _ACTIVATIONS[self.activation](x, name)
        if self.norm == "batch":
            return UnfusedActivation(self.activation, name=name)(x)
        return layers.Activation(self.activation, name=name)(x)

    def unit(
        self, x: keras.KerasTensor, filters: int, kernel: Any = 3, *, name: str, **options: Any
    ) -> Any:
        """Add `{name}_conv`, its normalisation and the non-linearity; `options` as for `conv`."""
        x = self.conv(
            x,
            filters * self._pieces,
            kernel,
            name=f"{name}_conv",
            **options,
        )
        return self._normalise_and_activate(x, name)

    def dense_unit(self, x: keras.KerasTensor, units: int, *, name: str) -> keras.KerasTensor:
        """Add a dense layer called `name`, its normalisation and the non-linearity."""
        layer_class: Any = WeightNormDense if self._normalises_weights else layers.Dense
        layer = layer_class(
            units * self._pieces,
            use_bias=self._has_bias,
            kernel_initializer=self.initializer(),
            name=name,
            **self._gain(),
        )
        return self._normalise_and_activate(layer(x), name)

    def drop(self, x: keras.KerasTensor, own: float = 0.0, *, name: str) -> keras.KerasTensor:
        """Add the dropout layer called `name`, where `own` is the network's rate; none for 0."""
        rate = own if self.dropout is None else self.dropout
        if rate == 0:
            return x
        return PerSampleDropout(rate, name=name)(x)

    def at_depth(self, number: int, residuals: int) -> "Style":
        """Return the style of residual `number` of so many, whose branch is left out less often."""
        rate = self.stochastic_depth * number / residuals
        return replace(self, stochastic_depth=rate)

    def add(
        self, x: keras.KerasTensor, residual: keras.KerasTensor, *, name: str
    ) -> keras.KerasTensor:
        """Add a residual, which stochastic depth leaves out for some images.

        The sum of two independent tensors has twice their variance; "normprop" halves it again.
        """
        if self.stochastic_depth > 0:
            residual = StochasticDepth(self.stochastic_depth, name=f"{name}_depth")(residual)
        x = layers.Add(name=f"{name}_add")([x, residual])
        if self.norm == "normprop":
            x = layers.Rescaling(0.5**0.5, name=f"{name}_halve")(x)
        return x

    def initializer(self, *, depthwise: bool = False) -> keras.initializers.Initializer:
        """Return the initial kernel of a layer before the non-linearity."""
        return initializers.for_activation(self.activation, depthwise=depthwise)

    @property
    def _normalises_weights(self) -> bool:
        return self.norm in WEIGHT_NORMS

    @property
    def _has_bias(self) -> bool:
        return self.bias or self.norm not in SHIFTING_NORMS

    @property
    def _pieces(self) -> int:
        """Return how many channels become one at the non-linearity."""
        return PIECES if self.activation == "maxout" else 1

    def _gain(self) -> dict[str, float]:
        """Return the option `gain` of weight-normalised layers; other layers have none."""
        if not self._normalises_weights:
            return {}
        if self.norm == "normprop":
            return {"gain": GAIN}
        if self.activation in initializers.RECTIFIERS:
            return {"gain": 2**0.5}
        return {"gain": 1.0}

    def _normalise_and_activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        x = self.norm_layer(x, name=name)
        if self.activation == "maxout":
            return Maxout(PIECES, name=f"{name}_maxout")(x)
        return self.activate(x, name=name)


def _prelu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    layer = layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25),
        shared_axes=list(range(1, len(x.shape) - 1)),  # one slope a channel
        name=name,
    )
    return layer(x)


_ACTIVATIONS = {
    "relu": lambda x, name: layers.ReLU(name=name)(x),
    "leaky_relu": lambda x, name: layers.LeakyReLU(
        negative_slope=0.01,
        name=name,
    )(x),
    "prelu": _prelu,
    "scaled_tanh": lambda x, name: layers.Activation(scaled_tanh, name=name)(x),
    "sparsemax": lambda x, name: layers.Activation(sparsemax, name=name)(x),
}


# Activations of Keras that no network can use everywhere.
_UNSUITABLE = {"glu": "halves the channels", "threshold": "needs arguments"}


def _is_activation(name: str) -> bool:
    if name in _ACTIVATIONS or name == "maxout":
        return True
    if name is None:
        return False
    try:
        return bool(keras.activations.get(name))
    except ValueError:
        return False


def _pad(
    x: keras.KerasTensor, kernel: int | tuple[int, int], stride: int, name: str
) -> tuple[keras.KerasTensor, str]:
    """Pad `x` symmetrically; return it and the padding that is left to the convolution `name`."""
    if stride == 1 or kernel == 1:
        return x, "same"
    if isinstance(kernel, int):
        kernel = (kernel, kernel)
    margins = [(size // 2, size // 2) for size in kernel]
    pad_name = f"{name.removesuffix('_conv')}_pad"
    return layers.ZeroPadding2D(margins, name=pad_name)(x), "valid"


def depthwise_dtype(stride: int) -> str | None:
    """Return "float32" for a depthwise convolution with a stride under bfloat16, else None.

    None is the dtype of the policy. On CPUs TensorFlow's gradient with a stride takes six times
    longer in bfloat16 than in float32, both casts included (128 x 32 x 32 x 96, stride 2, one core:
    170 ms against 29 ms forward and backward).
    """
    narrow = keras.config.dtype_policy().compute_dtype == "bfloat16"
    return "float32" if stride > 1 and narrow else None


def batch_norm(
    x: keras.KerasTensor, *, name: str, epsilon: float = 1e-5, momentum: float = 0.9
) -> keras.KerasTensor:
    """Add batch norm over the global batch; 10 % of a batch's moments enter the moving statistics.

    Unless `momentum` is another.
    """
    layer = FusedBatchNormalization(
        momentum=momentum, epsilon=epsilon, synchronized=synchronized(), name=name
    )
    return layer(x)


def synchronized() -> bool:
    """Return whether several replicas share the batch.

    Only then are batch norm's sums, which cost time, taken over all of them.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.distribute.get_strategy().num_replicas_in_sync > 1)
