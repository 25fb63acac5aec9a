"""Convolution against Keras' own: outputs, first and second gradients, and the way it takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.models.layers.convolution import Convolution

SMALL = [  # input, options: the output has at most sixteen pixels
    ((4, 4, 3), {"padding": "same"}),
    ((2, 3, 5), {"padding": "same", "use_bias": False}),
    ((1, 1, 2), {"padding": "same"}),
    ((6, 5, 3), {"padding": "valid"}),
    ((9, 8, 3), {"padding": "valid", "strides": 2}),
    ((10, 10, 4), {"padding": "valid", "strides": 2, "activation": "relu"}),
]
OTHERS = [
    ((5, 4, 3), {"padding": "same"}),
    ((4, 4, 3), {"padding": "same", "strides": 2}),
    ((4, 4, 3), {"padding": "same", "dilation_rate": 2}),
]
GROUPS = [
    ((4, 4, 4), {"padding": "same", "groups": 2}),
    ((5, 4, 6), {"padding": "same", "groups": 6, "strides": 2, "use_bias": False}),
    ((5, 6, 3), {"padding": "valid", "groups": 3, "activation": "tanh"}),
]


def pair(shape, options):
    """Ours and Keras' layer with the same weights."""
    layers = [kind(6, 3, **options) for kind in (Convolution, keras.layers.Conv2D)]
    for layer in layers:
        layer.build((None, *shape))
    random = np.random.default_rng(0)
    layers[0].set_weights([random.normal(size=weight.shape) for weight in layers[0].weights])
    layers[1].set_weights(layers[0].get_weights())
    return layers


def traced(layer, x):
    """Outputs, gradients, and the gradient of the sum of squared gradients."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True) if isinstance(layer, Convolution) else layer(x)
            loss = tf.reduce_sum(tf.sin(y))
        gradients = inner.gradient(loss, [x, *[weight.value for weight in layer.weights]])
        total = tf.add_n([tf.reduce_sum(gradient**2) for gradient in gradients])
    return y, *gradients, outer.gradient(total, x)


def kernels(layer, shape, *, training):
    """Names of operations in the graph of the filter's gradient."""

    @tf.function
    def gradient(x):
        with tf.GradientTape() as tape:
            y = layer(x, training=training)
        return tape.gradient(y, layer.kernel.value)

    specification = tf.TensorSpec((None, *shape), layer.compute_dtype)
    graph = gradient.get_concrete_function(specification).graph
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize(("shape", "options"), SMALL + OTHERS + GROUPS, ids=str)
def test_numbers_are_those_of_keras(shape, options):
    check_numbers(shape, options)


def check_numbers(shape, options):
    dtype = options.get("dtype", "float32")
    x = tf.constant(np.random.default_rng(1).normal(size=(3, *shape)).astype(dtype))
    layer, stock_layer = pair(shape, options)
    for ours, theirs in zip(traced(layer, x), traced(stock_layer, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize(("shape", "options"), GROUPS, ids=str)
def test_groups_that_have_no_gradient_go_one_by_one(shape, options):
    """In float64 TensorFlow's kernels for CPUs have none."""
    options = {**options, "dtype": "float64"}
    assert "Split" in kernels(pair(shape, options)[0], shape, training=True)
    check_numbers(shape, options)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_groups_are_differentiated_in_every_dtype(dtype):
    layer = Convolution(8, 3, groups=4, padding="same", dtype=dtype)
    with tf.GradientTape() as tape:
        y = layer(tf.ones([2, 5, 5, 8], dtype), training=True)
    assert tape.gradient(y, layer.kernel.value).dtype == dtype


@pytest.mark.parametrize(("shape", "options"), GROUPS, ids=str)
def test_groups_are_not_compiled_by_xla(shape, options):
    """Keras' graph only calls a function that XLA compiles, on CPUs hundreds of times slower."""
    layer, _ = pair(shape, options)
    found = kernels(layer, shape, training=True)
    assert "Conv2DBackpropFilter" in found
    assert not any("PartitionedCall" in kind for kind in found)


@pytest.mark.parametrize(("shape", "options"), SMALL, ids=str)
def test_small_maps_train_by_products(shape, options):
    layer, _ = pair(shape, options)
    assert "Conv2DBackpropFilter" not in kernels(layer, shape, training=True)
    assert "Conv2DBackpropFilter" in kernels(layer, shape, training=False)


@pytest.mark.parametrize(("shape", "options"), OTHERS, ids=str)
def test_everything_else_is_keras_own(shape, options):
    layer, _ = pair(shape, options)
    assert "MatMul" not in kernels(layer, shape, training=True)


def test_bfloat16_sums_as_keras_does():
    x = np.random.default_rng(1).normal(size=(32, 4, 4, 3)).astype(np.float32)
    layer, exact = pair((4, 4, 3), {"padding": "same"})
    narrow = Convolution(6, 3, padding="same", dtype="mixed_bfloat16")
    narrow.build((None, 4, 4, 3))
    narrow.set_weights(layer.get_weights())
    _, _, found, *_ = traced(narrow, tf.constant(x))
    _, _, expected, *_ = traced(exact, tf.constant(x))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_configuration_round_trip():
    layer = Convolution(6, 3, padding="same", name="c")
    assert Convolution.from_config(layer.get_config()).get_config() == layer.get_config()
