"""Initial weights: Xavier's and MSRA, without the truncation of Keras' own versions.

Keras' fan_in is kernel height x width x channels that a filter sees (C / g in a grouped
convolution). Only for depthwise kernels `[k, k, C, 1]` it is wrong: it counts all C channels where
a filter sees one, so that the weights come out sqrt(C) too small.
"""

import keras

# axes of a depthwise kernel [k, k, C, multiplier] that count for one channel
DEPTHWISE_AXES = {"input_axes": (0, 1), "output_axes": (0, 1, 3)}
RECTIFIERS = ("relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu", "swish")


def xavier(*, depthwise: bool = False, seed: int | None = None) -> keras.initializers.Initializer:
    """Normal with variance 1 / fan_in: keeps the variance of a layer without a rectifier."""
    return _normal(1.0, depthwise, seed)


def msra(*, depthwise: bool = False, seed: int | None = None) -> keras.initializers.Initializer:
    """Normal with variance 2 / fan_in: makes up for what a ReLU drops.

    He et al. 2015, arXiv 1502.01852.
    """
    return _normal(2.0, depthwise, seed)


def small(*, seed: int | None = None) -> keras.initializers.Initializer:
    """Normal with deviation 0.01, for the logits of a deep rectified network.

    Krizhevsky et al. 2012, section 5. The features before them are not centred, so that MSRA's
    logits start far apart: the first loss of ResNet-20 on CIFAR-10 was 3.0 to 5.6 over four seeds
    instead of ln 10 = 2.3, and the training accuracy over its first epoch 0.277 instead of 0.405
    (seed 0; batch 128, rate 0.1).
    """
    return keras.initializers.RandomNormal(stddev=0.01, seed=seed)


def for_activation(activation: str, *, depthwise: bool = False) -> keras.initializers.Initializer:
    """Return the initializer that keeps the variance of a layer followed by `activation`."""
    if activation in RECTIFIERS:
        return msra(depthwise=depthwise)
    return xavier(depthwise=depthwise)


def _normal(scale: float, depthwise: bool, seed: int | None) -> keras.initializers.Initializer:
    axes = DEPTHWISE_AXES if depthwise else {}
    return keras.initializers.VarianceScaling(
        scale, "fan_in", "untruncated_normal", seed=seed, **axes
    )
