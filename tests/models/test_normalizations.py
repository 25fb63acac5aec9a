"""Layer, propagated and local response normalization against NumPy and closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from epochal.models.blocks import Style
from epochal.models.layers.local_response import LocalResponseNormalization
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization
from epochal.models.layers.normprop import DEVIATION, GAIN, MEAN, StandardizedReLU
from tests.support.tensors import as_model, gradients_of, normal, precision, randomized

# layer normalization


def layer_norm(shape):
    return randomized(as_model(lambda x: Style(norm="layer").norm_layer(x, name="unit"), shape))


@pytest.mark.parametrize("shape", [(7,), (4, 3, 7)], ids=["dense", "conv"])
def test_layer_norm_takes_all_features_of_a_sample_together(shape):
    model = layer_norm(shape)
    x = 3 + 2 * normal(5, *shape)
    gain, bias = model.get_weights()
    assert gain.shape == bias.shape == (7,)
    features = tuple(range(1, x.ndim))
    mean = x.mean(features, keepdims=True)
    variance = x.var(features, keepdims=True)
    np.testing.assert_allclose(
        model(x), gain * (x - mean) / np.sqrt(variance + 1e-5) + bias, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("training", [False, True])
def test_layer_norm_sees_neither_the_batch_nor_the_phase(training):
    model = layer_norm((4, 3, 7))
    x = normal(5, 4, 3, 7)
    together = model(x, training=training)
    np.testing.assert_allclose(
        model(x[3:4], training=training), together[3:4], rtol=1e-6, atol=1e-6
    )
    np.testing.assert_array_equal(model(x, training=not training), together)
    assert model.non_trainable_weights == []


# normalization propagation


def moment(function):
    """The mean of `function(z)` over z from N(0, 1)."""
    return integrate.quad(lambda z: function(z) * stats.norm.pdf(z), -np.inf, np.inf)[0]


def test_constants_are_the_moments_of_a_rectified_normal():
    mean = moment(lambda z: max(z, 0))
    assert pytest.approx(mean) == MEAN
    assert pytest.approx(np.sqrt(moment(lambda z: (max(z, 0) - mean) ** 2))) == DEVIATION
    assert GAIN == 1 / 1.21


def test_a_normal_input_comes_out_with_mean_0_and_variance_1():
    y = StandardizedReLU()(normal(1_000_000)).numpy().astype(float)
    assert abs(y.mean()) < 4 / 1e3  # 4 sigma
    assert abs(y.var() - 1) < 4 * np.sqrt(np.mean((y**2 - 1) ** 2) / y.size)


def second_moments(gain, depth=10):
    """Mean squares behind each layer, in the limit of many units.

    Every pre-activation is N(0, gain^2 * q) then.

    Of max(0, N(0, s^2)) the mean is `s * MEAN` and the mean square s^2 / 2.
    """
    squares = []
    q = 1.0
    for _ in range(depth):
        s = gain * np.sqrt(q)
        q = (s**2 / 2 - 2 * s * MEAN**2 + MEAN**2) / DEVIATION**2
        squares.append(q)
    return squares


@pytest.mark.parametrize(("gain", "last"), [(1, 1.0), (GAIN, 0.61)])
def test_ten_layers_carry_a_normal_signal(gain, last):
    """Gain 1 keeps the deviation; the paper's 1/1.21, at first 0.826, lets it settle near 0.6."""
    keras.utils.set_random_seed(0)
    units = 1000
    x = normal(200, 1000)
    found = []
    for _ in range(10):
        model = as_model(
            lambda x: Style(norm="normprop").dense_unit(x, units, name="unit"), (units,)
        )
        dense = model.get_layer("unit")
        dense.gain.assign(dense.gain * gain / GAIN)
        x = model(x).numpy()
        found.append(np.mean(x**2))
    np.testing.assert_allclose(
        found, second_moments(gain), rtol=0.1
    )  # each layer adds about 1 / sqrt(units)
    assert np.sqrt(found[-1]) == pytest.approx(last, rel=0.05)


def test_normalization_propagation_needs_no_batch():
    model = as_model(lambda x: Style(norm="normprop").unit(x, 6, name="unit"), (5, 5, 3))
    x = normal(4, 5, 5, 3)
    np.testing.assert_allclose(model(x[:1], training=True), model(x)[:1], rtol=1e-5, atol=1e-5)
    assert model.non_trainable_weights == []


# local response normalization


@given(
    outer=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    channels=st.integers(1, 8),
    size=st.sampled_from([1, 3, 5, 7]),
    constants=st.tuples(st.floats(0.5, 3), st.floats(0, 2), st.floats(0.1, 1)),
)
@settings(max_examples=30)
def test_local_response_equals_the_papers_sum(outer, channels, size, constants):
    x = normal(*outer, channels)
    (bias, alpha, beta) = constants
    expected = np.empty_like(x)
    for i in range(channels):
        near = x[..., max(0, i - size // 2) : min(channels, i + size // 2 + 1)]
        expected[..., i] = x[..., i] / (bias + alpha * np.sum(near**2, -1)) ** beta
    layer = LocalResponseNormalization(size, bias, alpha, beta)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    assert layer.weights == []


def test_local_response_equals_tensorflows_with_the_papers_constants():
    x = 10 * normal(2, 3, 4, 9)
    expected = tf.nn.local_response_normalization(
        x, depth_radius=2, bias=2.0, alpha=1e-4, beta=0.75
    )
    np.testing.assert_allclose(LocalResponseNormalization()(x), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [0, 4, -1])
def test_local_response_refuses_windows_without_a_middle(size):
    with pytest.raises(ValueError, match=f"odd and at least 1, got {size}"):
        LocalResponseNormalization(size)


# mean-only batch norm


@pytest.mark.parametrize("shape", [(6, 4), (5, 3, 2, 4)])
def test_mean_only_batch_norm_centres_and_shifts(shape):
    layer = MeanOnlyBatchNormalization(momentum=0.8)
    x = 3 + 2 * normal(*shape)
    layer.build(shape)
    layer.beta.assign(normal(4, seed=1))
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(layer(x), x + layer.beta, rtol=1e-6)
    np.testing.assert_allclose(
        layer(x, training=True), x - x.mean(axes) + layer.beta, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(layer.moving_mean, 0.2 * x.mean(axes), rtol=1e-5)
    np.testing.assert_allclose(layer(x), x - 0.2 * x.mean(axes) + layer.beta, rtol=1e-5, atol=1e-5)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x))


def test_the_gradient_of_mean_only_batch_norm_is_centred():
    """The paper's equation after (6): the mean of the gradient is taken from it."""
    layer = MeanOnlyBatchNormalization()
    x = normal(5, 3, 2, 4)
    upstream = normal(5, 3, 2, 4, seed=1)
    layer.build(x.shape)
    found, beta = gradients_of(layer, x, upstream, training=True)
    np.testing.assert_allclose(found, upstream - upstream.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(beta, upstream.sum((0, 1, 2)), rtol=1e-5)


@precision("mixed_bfloat16")
def test_mean_only_batch_norm_computes_its_mean_in_float32():
    layer = MeanOnlyBatchNormalization()
    x = tf.cast(1000 + normal(64, 4), "bfloat16")
    y = layer(x, training=True)
    assert y.dtype == "bfloat16"
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    assert np.abs(np.asarray(y, np.float32).mean(0)).max() < 0.01 * np.asarray(y, np.float32).std()
