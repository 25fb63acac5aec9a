"""Initial weights and the blocks that families share: variances, alignment, gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import initializers
from models.blocks import basic_block, conv_bn

# initializers


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


def test_msra_carries_a_signal_through_twenty_rectified_convolutions():
    keras.utils.set_random_seed(0)
    x = y = tf.Variable(np.random.default_rng(0).normal(size=(2, 6, 6, 200)).astype(np.float32))
    with tf.GradientTape() as tape:
        for _ in range(20):  # wrapping at the edges: zeros from outside would thin the signal out
            y = tf.concat([y[:, -1:], y, y[:, :1]], 1)
            y = tf.concat([y[:, :, -1:], y, y[:, :, :1]], 2)
            y = keras.layers.Conv2D(200, 3, activation="relu", kernel_initializer=initializers.msra())(y)
        upstream = tf.constant(np.random.default_rng(1).normal(size=y.shape).astype(np.float32))
        loss = tf.reduce_sum(y * upstream)
    assert 0.5 < np.sqrt(np.mean(y.numpy() ** 2)) < 2
    assert 0.5 < np.std(tape.gradient(loss, x)) < 2


def test_each_activation_gets_its_initializer():
    assert initializers.for_activation("relu").scale == 2
    assert initializers.for_activation("tanh").scale == 1


# blocks


def as_model(function, shape):
    image = keras.Input(shape)
    return keras.Model(image, function(image))


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [8, 7])
def test_strided_convolution_is_centred_on_the_pixels_that_a_shortcut_keeps(kernel, size):
    model = as_model(lambda x: conv_bn(x, 1, kernel=kernel, stride=2, name="c"), (size, size, 1))
    centre = np.zeros((kernel, kernel, 1, 1), np.float32)
    centre[kernel // 2, kernel // 2] = 1
    model.get_layer("c_conv").kernel.assign(centre)
    x = np.random.default_rng(0).normal(size=(2, size, size, 1)).astype(np.float32)
    np.testing.assert_allclose(model(x), x[:, ::2, ::2] / np.sqrt(1 + 1e-5), rtol=1e-5)


def test_gradient_passes_a_silent_block_unchanged():
    model = as_model(lambda x: basic_block(x, 4, stride=1, shortcut="A", name="block"), (6, 6, 4))
    model.get_layer("block_b_bn").gamma.assign(np.zeros(4))
    x = tf.Variable(np.random.default_rng(0).uniform(0.1, 1, (2, 6, 6, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        y = model(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(tape.gradient(y, x), np.ones(x.shape))


def test_a_shortcut_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="got 'C'"):
        as_model(lambda x: basic_block(x, 8, stride=2, shortcut="C", name="block"), (6, 6, 4))
