"""Layers: the contract of all, and those without their own file against NumPy or a law."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from epochal.models.blocks import Style
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.convolution import Convolution
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.local_response import LocalResponseNormalization
from epochal.models.layers.maxout import Maxout
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization
from epochal.models.layers.normalize import Normalize
from epochal.models.layers.normprop import StandardizedReLU
from epochal.models.layers.scaled_tanh import scaled_tanh
from epochal.models.layers.sequential_sum import SumInTurn
from epochal.models.layers.shortcut import Shortcut, subsampled
from epochal.models.layers.sparsemax import sparsemax
from epochal.models.layers.standardize import Standardize
from epochal.models.layers.stochastic_depth import StochasticDepth
from epochal.models.layers.unfused import UnfusedActivation
from epochal.models.layers.weight_norm import (
    WeightNormConv2D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)
from tests.support.tensors import (
    as_model,
    assert_gradients_equal_finite_differences,
    gradients,
    normal,
    precision,
    randomized,
    saved_and_loaded,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
MEAN = [125.3, 123.0, 113.9]
DEVIATION = [63.0, 62.1, 66.7]
LAYERS = [
    Standardize(MEAN, DEVIATION),
    Normalize(np.arange(189.0), np.linspace(0.5, 1, 189)),
    Normalize(np.arange(189.0), np.random.default_rng(0).normal(size=(189, 5))),
    Shortcut(8, 2),
    PerSampleDropout(0.25, seed=3),
    StochasticDepth(0.25, seed=3),
    FusedBatchNormalization(momentum=0.8, center=False),
    Convolution(4, 3, padding="same"),
    WeightNormDense(4, gain=1.5),
    WeightNormConv2D(6, 3, groups=3, padding="same", gain=1.5),
    WeightNormDepthwiseConv2D(3, 2, gain=1.5),
    MeanOnlyBatchNormalization(momentum=0.8),
    StandardizedReLU(),
    Maxout(3),
    LocalResponseNormalization(3, bias=1.0, alpha=0.5, beta=0.6),
    SumInTurn(
        [
            keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, size)])
            for size in (1, 1)
        ]
    ),
    layers.Activation(scaled_tanh, name="scaled_tanh"),
    layers.Activation(sparsemax, name="sparsemax"),
    UnfusedActivation("tanh"),
]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


def test_no_layer_is_left_out():
    ours = {
        kind
        for kind in keras.saving.get_custom_objects().values()
        if kind.__module__.startswith("epochal.models.layers.")
    }
    assert ours - {scaled_tanh, sparsemax} == {type(layer) for layer in LAYERS} - {
        layers.Activation
    }


@every_layer
def test_configuration_round_trip(layer):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert twin.get_config() == layer.get_config()
    assert (
        layer.compute_output_shape((2, 9, 7, 3)) == twin(np.zeros((2, 9, 7, 3), np.float32)).shape
    )


@every_layer
def test_a_saved_model_comes_back(layer, tmp_path):
    model = randomized(as_model(type(layer).from_config(layer.get_config()), (9, 7, 3)))
    twin = saved_and_loaded(model, tmp_path)
    x = normal(2, 9, 7, 3)
    assert [weight.path for weight in twin.weights] == [weight.path for weight in model.weights]
    np.testing.assert_array_equal(twin(x), model(x))


# gradients


DIFFERENTIABLE = {
    "Standardize": lambda x: Standardize([0.1, 0.2, 0.3], [2.0, 3.0, 4.0])(x),
    "Shortcut": lambda x: Shortcut(6)(x),
    "PerSampleDropout": lambda x: PerSampleDropout(0.5, seed=2)(x),
    "StochasticDepth": lambda x: StochasticDepth(0.5, seed=2)(x),
    "FusedBatchNormalization": lambda x: FusedBatchNormalization()(x),
    "Convolution": lambda x: Convolution(4, 3, padding="same")(x),
    "WeightNormDense": lambda x: WeightNormDense(4)(x),
    "WeightNormConv2D": lambda x: WeightNormConv2D(4, 2)(x),
    "WeightNormDepthwiseConv2D": lambda x: WeightNormDepthwiseConv2D(2)(x),
    "StandardizedReLU": lambda x: StandardizedReLU()(x),
    "Maxout": lambda x: Maxout(3)(x),
    "LocalResponseNormalization": lambda x: LocalResponseNormalization(3, alpha=0.5)(x),
    "scaled_tanh": lambda x: layers.Activation(scaled_tanh)(x),
    "sparsemax": lambda x: layers.Activation(sparsemax)(x),
    "prelu": lambda x: Style(activation="prelu").activate(x, name="unit"),
    "layer norm": lambda x: Style(norm="layer").norm_layer(x, name="unit"),
}


@pytest.mark.parametrize("function", DIFFERENTIABLE.values(), ids=DIFFERENTIABLE)
@precision("float64")
def test_gradients_equal_finite_differences(function):
    model = randomized(as_model(function, (3, 4, 3), "float64"))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 3))
    assert_gradients_equal_finite_differences(model, x, training=True)


# Standardize


def test_standardize_equals_numpy():
    expected = (IMAGES - np.array(MEAN)) / np.array(DEVIATION)
    np.testing.assert_allclose(Standardize(MEAN, DEVIATION)(IMAGES), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        Standardize(MEAN, DEVIATION, dtype="float64")(IMAGES), expected, rtol=1e-15
    )


def test_standardize_without_statistics_only_casts():
    result = Standardize()(IMAGES)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, IMAGES)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_standardize_rounds_to_bfloat16_only_at_the_end(kind):
    result = Standardize(MEAN, DEVIATION, dtype="mixed_bfloat16")(IMAGES.astype(kind))
    np.testing.assert_array_equal(
        result, tf.cast(Standardize(MEAN, DEVIATION)(IMAGES), tf.bfloat16)
    )


@pytest.mark.parametrize(
    ("mean", "deviation", "message"),
    [
        ([1.0, 2.0], None, r"mean must hold one value a channel, got \[1.0, 2.0\] for 3 channels"),
        (None, [1.0], r"deviation must hold one value a channel, got \[1.0\] for 3 channels"),
        (None, [1.0, 0.0, 1.0], r"deviation must be above 0 .* \[1.0, 0.0, 1.0\]"),
        ([1.0, np.nan, 1.0], None, r"mean must be finite .* \[1.0, nan, 1.0\]"),
    ],
)
def test_standardize_refuses_statistics_that_cannot_be(mean, deviation, message):
    with pytest.raises(ValueError, match=message):
        Standardize(mean, deviation)(IMAGES)


# Shortcut


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 5),
    more=st.integers(0, 5),
    stride=st.integers(1, 3),
)
@settings(max_examples=30)
def test_shortcut_keeps_every_stride_th_pixel_and_adds_zeros(size, channels, more, stride):
    x = np.random.default_rng(0).normal(size=(2, *size, channels)).astype(np.float32)
    layer = Shortcut(channels + more, stride)
    result = layer(x).numpy()
    front = more // 2
    np.testing.assert_array_equal(result[..., front : front + channels], x[:, ::stride, ::stride])
    assert not result[..., :front].any()
    assert not result[..., front + channels :].any()
    assert layer.compute_output_shape(x.shape) == result.shape
    assert layer.weights == []


def test_shortcut_refuses_to_drop_channels():
    with pytest.raises(ValueError, match="got 3, asked for 2"):
        Shortcut(2)(np.zeros((1, 4, 4, 3), np.float32))


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    stride=st.integers(1, 4),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
@settings(max_examples=30)
def test_subsampling_is_slicing_forward_and_backward(size, stride, dtype):
    x = tf.cast(normal(2, *size, 3), dtype)

    def ours(x):
        return subsampled(x, stride)

    def slicing(x):
        return x[:, ::stride, ::stride]

    np.testing.assert_array_equal(tf.cast(ours(x), "float32"), tf.cast(slicing(x), "float32"))
    upstream = normal(*slicing(x).shape, seed=1)
    np.testing.assert_array_equal(gradients(ours, [x], upstream), gradients(slicing, [x], upstream))
