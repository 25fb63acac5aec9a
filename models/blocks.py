"""What several families share: functions from a tensor to a tensor; a layer's name is its weights' path."""

import keras
import tensorflow as tf
from keras import layers

from models import initializers
from models.layers.shortcut import Shortcut


def conv_bn(x: keras.KerasTensor, filters: int, *, kernel: int = 3, stride: int = 1, name: str) -> keras.KerasTensor:
    """Adds `{name}_conv` and `{name}_bn`: a convolution without bias, which batch norm's shift makes idle.

    `[N, H, W, C]` becomes `[N, ceil(H / stride), ceil(W / stride), filters]`; `kernel` is odd. The padding is
    symmetric, as in the papers and in PyTorch: Keras' "same" with stride 2 pads an even image at the far side
    only, which centres its results a pixel away from those that a subsampling shortcut keeps.
    """
    if stride > 1 and kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=initializers.msra(),
        name=f"{name}_conv",
    )(x)
    return batch_norm(x, name=f"{name}_bn")


def batch_norm(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Adds batch norm over the global batch, of which 10 % enter the moving statistics; epsilon is 1e-5."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return layers.BatchNormalization(
        momentum=0.9,
        epsilon=1e-5,
        synchronized=replicas > 1,  # only then: the synchronized sums cost time that one device need not pay
        name=name,
    )(x)


def basic_block(x: keras.KerasTensor, filters: int, *, stride: int, shortcut: str, name: str) -> keras.KerasTensor:
    """Adds two 3x3 convolutions and a shortcut around them (He et al. 2015, arXiv 1512.03385, figure 2).

    Where shapes change, `shortcut` "A" subsamples and pads with zeros, "B" projects with a 1x1 convolution.
    """
    residual = conv_bn(x, filters, stride=stride, name=f"{name}_a")
    residual = layers.ReLU(name=f"{name}_a_relu")(residual)
    residual = conv_bn(residual, filters, name=f"{name}_b")
    if residual.shape != x.shape:
        x = _resized(x, filters, stride=stride, shortcut=shortcut, name=f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, residual])
    return layers.ReLU(name=f"{name}_relu")(x)


def _resized(x: keras.KerasTensor, filters: int, *, stride: int, shortcut: str, name: str) -> keras.KerasTensor:
    if shortcut == "A":
        return Shortcut(filters, stride, name=name)(x)
    if shortcut == "B":
        return conv_bn(x, filters, kernel=1, stride=stride, name=name)
    raise ValueError(f'shortcut must be "A" (zero padding) or "B" (projection), got {shortcut!r}.')


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
