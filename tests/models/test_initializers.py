"""Initial weights: variances against 1 or 2 over fan-in, and the signal in a deep network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.models import initializers
from epochal.models.blocks import Style
from tests.support.tensors import as_model, normal


@pytest.mark.parametrize(("make", "gain"), [(initializers.xavier, 1), (initializers.msra, 2)])
@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [
        (keras.layers.Dense(300), (4, 400), 400),
        (keras.layers.Conv2D(128, 3), (1, 5, 5, 64), 3 * 3 * 64),
        (keras.layers.Conv2D(256, 3, groups=4), (1, 5, 5, 128), 3 * 3 * 128 // 4),
    ],
    ids=["dense", "conv", "grouped"],
)
def test_variance_is_the_gain_over_fan_in_and_tails_are_whole(make, gain, layer, shape, fan_in):
    layer = type(layer).from_config({**layer.get_config(), "kernel_initializer": make(seed=0)})
    layer.build(shape)
    weights = layer.kernel.numpy()
    assert np.var(weights) == pytest.approx(gain / fan_in, rel=0.03)
    assert np.abs(weights).max() > 3.5 * np.sqrt(gain / fan_in)  # Keras' he_normal is cut at 2.3


@pytest.mark.parametrize(("make", "gain"), [(initializers.xavier, 1), (initializers.msra, 2)])
@pytest.mark.parametrize(("channels", "multiplier"), [(512, 1), (4096, 1), (1024, 2)])
def test_a_depthwise_filter_sees_one_channel_however_many_there_are(
    make, gain, channels, multiplier
):
    weights = make(depthwise=True, seed=0)((3, 3, channels, multiplier)).numpy()
    assert np.var(weights) == pytest.approx(gain / 9, rel=0.07)  # 3 sigma of 4,608 draws
    by_keras = keras.initializers.VarianceScaling(gain, "fan_in", "untruncated_normal", seed=0)
    assert np.var(by_keras((3, 3, channels, multiplier))) == pytest.approx(
        gain / (9 * channels), rel=0.07
    )


def test_the_zoos_depthwise_convolution_starts_so():
    keras.utils.set_random_seed(0)
    model = as_model(lambda x: Style().depthwise(x, name="depthwise"), (4, 4, 2048))
    assert np.var(model.get_layer("depthwise").kernel) == pytest.approx(2 / 9, rel=0.04)


def test_msra_carries_a_signal_through_twenty_rectified_convolutions():
    keras.utils.set_random_seed(0)
    x = y = tf.Variable(normal(2, 6, 6, 200))
    with tf.GradientTape() as tape:
        for _ in range(20):  # wrapping at the edges: zeros from outside would thin the signal out
            y = tf.concat([y[:, -1:], y, y[:, :1]], 1)
            y = tf.concat([y[:, :, -1:], y, y[:, :, :1]], 2)
            y = keras.layers.Conv2D(
                200, 3, activation="relu", kernel_initializer=initializers.msra()
            )(y)
        upstream = tf.constant(normal(*y.shape, seed=1))
        loss = tf.reduce_sum(y * upstream)
    assert 0.5 < np.sqrt(np.mean(y.numpy() ** 2)) < 2
    assert 0.5 < np.std(tape.gradient(loss, x)) < 2


@pytest.mark.parametrize(
    ("gain", "activations"),
    [
        (2, ["relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu"]),
        (1, ["tanh", "scaled_tanh", "sigmoid", "linear", "maxout"]),
    ],
    ids=["rectifiers", "others"],
)
def test_each_activation_gets_its_initializer(gain, activations):
    keras.utils.set_random_seed(0)
    for activation in activations:
        assert initializers.for_activation(activation).scale == gain
        depthwise = initializers.for_activation(activation, depthwise=True)
        assert np.var(depthwise((3, 3, 512, 1))) == pytest.approx(gain / 9, rel=0.1)


def test_logits_start_small():
    assert np.std(initializers.small(seed=0)((200, 200))) == pytest.approx(0.01, rel=0.02)
