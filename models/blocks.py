"""What the families are built of: functions from a tensor to a tensor; a layer's name is its weights' path."""

from collections.abc import Sequence
from dataclasses import dataclass
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
from epochal.models.layers.weight_norm import (
    WeightNormConv2D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)

NORMS = ("batch", "layer", "weight", "weight_mean", "normprop", "none")
PIECES = 2  # of a maxout unit


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a network normalises and which non-linearity it uses: what makes its convolutions and dense layers.

    Args:
        norm: "batch" (Ioffe and Szegedy 2015), "layer" (all features of a sample together, Ba et al. 2016), "weight"
            (Salimans and Kingma 2016), "weight_mean" (its section 4: with mean-only batch norm), "normprop" (Arpit et
            al. 2016; with "relu" only) or "none".
        activation: "prelu" (a slope a channel, from 0.25), "leaky_relu" (slope 0.01), "scaled_tanh" (LeCun), "maxout"
            (two pieces) or the name of a Keras activation.
        bias: whether convolutions have one even where a normalisation behind them makes it idle.
    """

    norm: str = "batch"
    activation: str = "relu"
    bias: bool = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {self.norm!r}.")
        if self.activation not in _ACTIVATIONS and not _keras_knows(self.activation):
            known = ", ".join([*_ACTIVATIONS, "maxout"])
            raise ValueError(
                f"activation must be {known} or the name of a Keras activation, got {self.activation!r}."
            )
        if self.norm == "normprop" and self.activation != "relu":
            raise ValueError(f"norm 'normprop' needs the activation relu, got {self.activation!r}.")

    @property
    def reparametrized(self) -> bool:
        """Whether weights, not activations, are normalised."""
        return self.norm in ("weight", "weight_mean", "normprop")

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int | tuple[int, int] = 3,
        *,
        stride: int = 1,
        **options: Any,
    ) -> keras.KerasTensor:
        """Adds a convolution called `name`: `[N, H, W, C]` to `[N, ceil(H / stride), ceil(W / stride), filters]`.

        The padding is symmetric, as in the papers and in PyTorch: Keras' "same" with stride 2 pads an even image at the
        far side only, which centres its results a pixel away from those that a subsampling shortcut keeps.

        Args:
            options: further ones of Keras' layer: `name`, `groups`, `padding` instead of the symmetric one.
        """
        x, padding = _padded(x, kernel, stride, options)
        kind: Any = WeightNormConv2D if self.reparametrized else Convolution
        groups = options.get("groups", 1)
        if x.shape[-1] % groups or filters % groups:
            raise ValueError(
                f"groups must divide the channels, {x.shape[-1]} in and {filters} out; got {groups}."
            )
        made = {
            "strides": stride,
            "use_bias": self._bias,
            "kernel_initializer": self.initializer(),
            **self._gain,
        }
        return kind(filters, kernel, **{**made, "padding": padding, **options})(x)

    def depthwise(self, x: keras.KerasTensor, *, stride: int = 1, name: str) -> keras.KerasTensor:
        """Adds a 3x3 convolution of each channel by itself, in the precision of `depthwise_dtype`."""
        x, padding = _padded(x, 3, stride, {"name": name})
        kind: Any = WeightNormDepthwiseConv2D if self.reparametrized else layers.DepthwiseConv2D
        made = {
            "use_bias": self._bias,
            "depthwise_initializer": self.initializer(depthwise=True),
            **self._gain,
        }
        return kind(3, stride, padding=padding, dtype=depthwise_dtype(stride), name=name, **made)(x)

    def norm_layer(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Adds what normalises activations, if anything does; epsilon is 1e-5."""
        if self.norm == "batch":
            return batch_norm(x, name=f"{name}_bn")
        if self.norm == "layer":
            return layers.GroupNormalization(groups=1, epsilon=1e-5, name=f"{name}_ln")(x)
        if self.norm == "weight_mean":
            return MeanOnlyBatchNormalization(synchronized=synchronized(), name=f"{name}_mean")(x)
        return x

    def activate(self, x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
        """Adds the non-linearity, `{name}_{activation}`."""
        name = f"{name}_{self.activation}"
        if self.norm == "normprop":
            return StandardizedReLU(name=name)(x)
        if self.activation == "maxout":
            raise ValueError(
                "activation 'maxout' halves the channels, which only plain networks allow for; take relu."
            )
        if self.activation in _ACTIVATIONS:
            return _ACTIVATIONS[self.activation](x, name)
        return layers.Activation(self.activation, name=name)(x)

    def unit(
        self, x: keras.KerasTensor, filters: int, kernel: Any = 3, *, name: str, **options: Any
    ) -> Any:
        """Adds `{name}_conv`, its normalisation and the non-linearity; `options` as for `conv`."""
        x = self.conv(x, filters * self._pieces, kernel, name=f"{name}_conv", **options)
        return self._nonlinear(self.norm_layer(x, name=name), name)

    def dense_unit(self, x: keras.KerasTensor, units: int, *, name: str) -> keras.KerasTensor:
        """Adds a dense layer called `name`, its normalisation and the non-linearity."""
        kind: Any = WeightNormDense if self.reparametrized else layers.Dense
        made = {"use_bias": self._bias, "kernel_initializer": self.initializer(), **self._gain}
        x = kind(units * self._pieces, name=name, **made)(x)
        return self._nonlinear(self.norm_layer(x, name=name), name)

    def add(
        self, x: keras.KerasTensor, residual: keras.KerasTensor, *, name: str
    ) -> keras.KerasTensor:
        """Adds a residual; under "normprop" halves the variance, which the sum of two independent ones doubles."""
        x = layers.Add(name=f"{name}_add")([x, residual])
        return layers.Rescaling(0.5**0.5, name=f"{name}_halve")(x) if self.norm == "normprop" else x

    @property
    def _pieces(self) -> int:
        return PIECES if self.activation == "maxout" else 1

    @property
    def _bias(self) -> bool:
        return self.bias or self.norm not in (
            "batch",
            "layer",
            "weight_mean",
        )  # these shift by themselves

    @property
    def _gain(self) -> dict[str, float]:
        if not self.reparametrized:
            return {}
        rectified = 2**0.5 if self.activation in initializers.RECTIFIERS else 1.0
        return {"gain": GAIN if self.norm == "normprop" else rectified}

    def initializer(self, *, depthwise: bool = False) -> keras.initializers.Initializer:
        """Returns what the kernel of a layer before the non-linearity starts as."""
        return initializers.for_activation(self.activation, depthwise=depthwise)

    def _nonlinear(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if self.activation == "maxout":
            return Maxout(PIECES, name=f"{name}_maxout")(x)
        return self.activate(x, name=name)


def _prelu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    shared = list(range(1, len(x.shape) - 1))
    return layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25), shared_axes=shared, name=name
    )(x)


_ACTIVATIONS = {
    "relu": lambda x, name: layers.ReLU(name=name)(x),
    "leaky_relu": lambda x, name: layers.LeakyReLU(negative_slope=0.01, name=name)(x),
    "prelu": _prelu,
    "scaled_tanh": lambda x, name: layers.Activation(scaled_tanh, name=name)(x),
}


def _keras_knows(activation: str) -> bool:
    if activation == "maxout":
        return True
    try:
        return activation is not None and bool(keras.activations.get(activation))
    except ValueError:
        return False


def _padded(
    x: keras.KerasTensor, kernel: Any, stride: int, options: dict[str, Any]
) -> tuple[keras.KerasTensor, str]:
    """The input and the padding that Keras is to add to it."""
    if stride == 1 or kernel == 1 or "padding" in options:
        return x, "same"
    margins = [
        (size // 2, size // 2) for size in ((kernel, kernel) if isinstance(kernel, int) else kernel)
    ]
    name = f"{options['name']}_pad".replace("_conv_pad", "_pad")
    return layers.ZeroPadding2D(margins, name=name)(x), "valid"


def depthwise_dtype(stride: int) -> str | None:
    """Returns "float32" for a depthwise convolution with a stride under bfloat16, else None: as the policy says.

    On CPUs TensorFlow's gradient takes six times longer in bfloat16 there than in float32, both casts included
    (128 x 32 x 32 x 96, stride 2, one core: 170 ms against 29 ms forward and backward).
    """
    narrow = keras.config.dtype_policy().compute_dtype == "bfloat16"
    return "float32" if stride > 1 and narrow else None


def batch_norm(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Adds batch norm over the global batch, of which 10 % enter the moving statistics; epsilon is 1e-5."""
    return FusedBatchNormalization(
        momentum=0.9, epsilon=1e-5, synchronized=synchronized(), name=name
    )(x)


def synchronized() -> bool:
    """Whether several replicas share the batch; only then are the sums, which cost time, taken over all of them."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.distribute.get_strategy().num_replicas_in_sync > 1)


def hidden_layers(
    x: keras.KerasTensor, hidden: Sequence[int], *, style: Style, first: int = 1
) -> keras.KerasTensor:
    """Adds the dense layers of AlexNet and VGG, `fc{first}` and so on, half of whose outputs training drops."""
    x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(hidden, start=first):
        x = style.dense_unit(x, units, name=f"fc{i}")
        x = PerSampleDropout(0.5, name=f"dropout{i}")(x)
    return x


def classifier(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    initializer: keras.initializers.Initializer | str,
) -> keras.KerasTensor:
    """Adds the last dense layer, `logits`: `[N, features]` to `[N, num_classes]`.

    Computes in float32 under mixed precision too, for bfloat16 would round a logit near 10 to steps of 1/16;
    in float64 only under a float64 policy.
    """
    dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    return layers.Dense(num_classes, kernel_initializer=initializer, dtype=dtype, name="logits")(x)


def pooled_classifier(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Adds the mean of each channel over the image and the classifier: weights do not depend on the image's size."""
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return classifier(x, num_classes, initializer=initializers.small())
