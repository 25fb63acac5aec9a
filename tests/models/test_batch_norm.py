"""Batch normalization on the fused kernel, against the stock layer and against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.models.layers.batch_norm import FusedBatchNormalization
from tests.support.tensors import as_model, gradients, gradients_of, normal, saved_and_loaded

KERNEL = "FusedBatchNormV3"
ROUNDING = {"bfloat16": 2**-8, "float16": 2**-11}  # half a unit in the last place, relative


def pair(channels=3, **options):
    """The layer and the stock one with the same weights, none of them where it began."""
    layers = [
        kind(name="bn", **options)
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    ]
    for layer in layers:
        layer.build([None, None, None, channels])
    layers[0].set_weights(
        [1.5 + 0.5 * np.tanh(normal(channels, seed=i)) for i, _ in enumerate(layers[0].weights)]
    )
    layers[1].set_weights(layers[0].get_weights())
    return layers


def assert_close(found, expected, tolerance=1e-5):
    """Within `tolerance` of the largest number expected."""
    expected = np.asarray(expected)
    limit = tolerance * max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=tolerance, atol=limit)


# against the stock layer


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4)),
    training=st.booleans(),
    scale=st.booleans(),
    center=st.booleans(),
    axis=st.sampled_from([-1, 3]),
)
@settings(max_examples=30)
def test_outputs_gradients_and_statistics_equal_the_stock_layers(
    shape, training, scale, center, axis
):
    fused, stock = pair(shape[-1], scale=scale, center=center, axis=axis, momentum=0.8)
    x = 3 + 2 * normal(*shape)
    upstream = normal(*shape, seed=1)
    found, expected = (
        gradients_of(layer, x, upstream, training=training) for layer in (fused, stock)
    )
    for gradient, wanted in zip(found, expected, strict=True):
        assert_close(gradient, wanted)
    for seed in range(3):
        output, expected = (
            layer(x + normal(*shape, seed=seed), training=training) for layer in (fused, stock)
        )
        assert_close(output, expected)
    for weight, wanted in zip(fused.get_weights(), stock.get_weights(), strict=True):
        assert_close(weight, wanted)


def by_formula(x, epsilon=1e-3):
    """The full formula; `tf.nn.moments` holds the mean still, right for one derivative only."""
    mean = tf.reduce_mean(x, [0, 1, 2])
    return (x - mean) / tf.sqrt(tf.reduce_mean(tf.square(x), [0, 1, 2]) - tf.square(mean) + epsilon)


def second_derivative(normalise, x):
    """The Hessian of a loss after the normalisation, times a direction.

    Curvature rates are made of such products.
    """
    x, direction, upstream = (
        tf.constant(values, x.dtype) for values in (x, normal(*x.shape, seed=1), normal(*x.shape))
    )
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(upstream * tf.tanh(normalise(x)))
        slope = tf.reduce_sum(inner.gradient(loss, x) * direction)
    return outer.gradient(slope, x)


@pytest.mark.parametrize("channels", [3, 16])
def test_second_derivatives_are_those_of_the_formula(channels):
    layer = FusedBatchNormalization(epsilon=1e-3, center=False, scale=False)
    x = 3 + 2 * normal(2, 3, 2, channels)
    found = second_derivative(lambda x: layer(x, training=True), x)
    assert_close(found, second_derivative(by_formula, x.astype("float64")), 1e-4)


def test_keras_own_second_derivatives_are_not():
    """When this fails Keras is mended, and `FusedBatchNormalization` may leave more to it."""
    layer = keras.layers.BatchNormalization(
        epsilon=1e-3, center=False, scale=False, dtype="float64"
    )
    x = 3 + 2 * normal(2, 3, 2, 3).astype("float64")
    found, expected = (
        second_derivative(how, x) for how in (lambda x: layer(x, training=True), by_formula)
    )
    assert np.abs(found - expected).max() > 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("channels", [3, 16])
def test_a_share_of_no_images_moves_nothing(channels):
    fused, _ = pair(channels)
    before = fused.get_weights()
    found = gradients_of(
        fused,
        np.zeros((0, 4, 4, channels), np.float32),
        np.zeros((0, 4, 4, channels)),
        training=True,
    )
    for weight, wanted in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, wanted)
    assert all(not np.any(gradient) for gradient in found)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("training", [False, True])
def test_narrow_types_round_only_the_result(dtype, training):
    narrow = pair(dtype=f"mixed_{dtype}")[0]
    wide = pair()[1]
    x = tf.cast(3 + 2 * normal(8, 5, 4, 3), dtype)
    exact = tf.cast(x, "float32")
    upstream = normal(*x.shape, seed=1)
    expected = gradients_of(wide, exact, upstream, training=training)
    for found, wanted in zip(
        gradients_of(narrow, x, upstream, training=training), expected, strict=True
    ):
        assert_close(found, wanted, 2 * ROUNDING[dtype])  # the gradient from above is rounded too
    output = narrow(x, training=training)
    assert output.dtype == dtype
    wanted = wide(exact, training=training)
    np.testing.assert_allclose(
        tf.cast(output, "float32"), wanted, rtol=1.01 * ROUNDING[dtype], atol=1e-5
    )


def test_statistics_and_weights_stay_in_float32():
    for dtype in ROUNDING:
        layer, stock = pair(dtype=f"mixed_{dtype}", momentum=0.5)
        x = tf.cast(3 + 2 * normal(8, 5, 4, 3), dtype)
        for twin in (layer, stock):
            twin(x, training=True)
        assert {weight.dtype for weight in layer.weights} == {"float32"}
        for found, expected in zip(layer.get_weights(), stock.get_weights(), strict=True):
            assert_close(found, expected)


def test_weights_are_those_of_the_stock_layer():
    fused, stock = pair()
    assert [weight.path for weight in fused.weights] == [weight.path for weight in stock.weights]
    other = [value + 1 for value in stock.get_weights()]
    stock.set_weights(other)
    fused.set_weights(stock.get_weights())
    x = normal(2, 4, 4, 3)
    assert_close(fused(x), stock(x))


def test_a_frozen_layer_infers_even_in_training():
    layer = pair()[0]
    layer.trainable = False
    x = normal(4, 3, 3, 3)
    before = layer.get_weights()
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    for found, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_single_pixel_is_its_own_mean():
    layer = FusedBatchNormalization(momentum=0.5)
    x = tf.Variable([[[[3.0, -4.0]]]])
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
    np.testing.assert_array_equal(y, np.zeros((1, 1, 1, 2)))
    np.testing.assert_array_equal(tape.gradient(y, x), np.zeros((1, 1, 1, 2)))
    np.testing.assert_array_equal(layer.moving_mean, [1.5, -2])
    np.testing.assert_array_equal(layer.moving_variance, [0.5, 0.5])


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (2, 0, 4, 3)], ids=str)
def test_inference_on_nothing_is_nothing(shape):
    for layer in pair():
        assert layer(np.zeros(shape, np.float32)).shape == shape


# where the kernel applies


def operations(layer, shape, dtype, **call):
    graph = (
        tf.function(lambda x: layer(x, **call))
        .get_concrete_function(tf.TensorSpec(shape, dtype))
        .graph
    )
    return {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("dtype", ["float32", *ROUNDING])
@pytest.mark.parametrize("training", [False, True])
def test_the_kernel_computes_batches_of_images(dtype, training):
    layer = FusedBatchNormalization(dtype="float32" if dtype == "float32" else f"mixed_{dtype}")
    assert KERNEL in operations(layer, [None, None, None, 3], dtype, training=training)


MASK = np.arange(4 * 5 * 6).reshape(4, 5, 6) % 3 > 0
ELSEWHERE = {
    "channels first": ((4, 3, 5, 6), {"axis": 1}, {}),
    "rank 2": ((4, 3), {}, {}),
    "rank 3": ((4, 5, 3), {}, {}),
    "rank 5": ((2, 3, 4, 5, 3), {}, {}),
    "float64": ((4, 5, 6, 3), {"dtype": "float64"}, {}),
    "bfloat16 weights": ((4, 5, 6, 3), {"dtype": "bfloat16"}, {}),
    "float16 weights": ((4, 5, 6, 3), {"dtype": "float16"}, {}),
    "wider input": ((4, 5, 6, 3), {"dtype": "mixed_bfloat16", "autocast": False}, {}),
    "mask": ((4, 5, 6, 3), {}, {"mask": MASK}),
    "renorm": ((4, 5, 6, 3), {"renorm": True}, {}),
    "synchronized": ((4, 5, 6, 3), {"synchronized": True}, {}),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", ELSEWHERE)
def test_elsewhere_it_is_the_stock_layer_bit_by_bit(case, training):
    shape, options, call = ELSEWHERE[case]
    x = 3 + 2 * normal(*shape)
    fused = FusedBatchNormalization(**options)
    stock = keras.layers.BatchNormalization(**options)
    for _ in range(2):
        output, expected = (layer(x, training=training, **call) for layer in (fused, stock))
        assert output.dtype == expected.dtype
        np.testing.assert_array_equal(output, expected)
    for found, wanted in zip(fused.get_weights(), stock.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert KERNEL not in operations(fused, shape, x.dtype, training=training, **call)


# storage


def test_configuration_is_that_of_the_stock_layer():
    options = {"momentum": 0.7, "epsilon": 2e-5, "center": False, "name": "bn"}
    layer = FusedBatchNormalization(**options)
    assert layer.get_config() == keras.layers.BatchNormalization(**options).get_config()
    assert (
        FusedBatchNormalization.from_config(layer.get_config()).get_config() == layer.get_config()
    )


def test_a_saved_model_comes_back(tmp_path):
    model = as_model(FusedBatchNormalization(), (4, 4, 3))
    x = 2 + normal(4, 4, 4, 3)
    model(x, training=True)
    twin = saved_and_loaded(model, tmp_path)
    assert type(twin.layers[-1]) is FusedBatchNormalization
    np.testing.assert_array_equal(twin(x), model(x))


# against NumPy


def test_training_normalises_by_the_biased_variance_of_each_channel():
    x = 3 + 2 * normal(4, 3, 2, 5)
    epsilon = 1e-3
    layer = FusedBatchNormalization(momentum=0.9, epsilon=epsilon)
    output = layer(x, training=True).numpy()
    mean = x.mean((0, 1, 2))
    variance = x.var((0, 1, 2))
    assert_close(output, (x - mean) / np.sqrt(variance + epsilon))
    np.testing.assert_allclose(output.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(output.var((0, 1, 2)), variance / (variance + epsilon), rtol=1e-5)
    assert_close(layer.moving_mean, 0.1 * mean)
    assert_close(layer.moving_variance, 0.9 + 0.1 * variance)


def formulas(x, w, epsilon, upstream):
    """Gradients of `net = W x_hat + w0` by x, W and w0 (Ioffe and Szegedy 2015, section 3).

    All of `[samples, features]`; W is `[features, units]`.
    """
    m = len(x)
    centred = x - x.mean(0)
    variance = x.var(0) + epsilon
    deviation = np.sqrt(variance)
    normalised = centred / deviation
    by_normalised = upstream @ w.T
    by_variance = (by_normalised * centred * -0.5 * variance**-1.5).sum(0)
    by_mean = (by_normalised * -1 / deviation).sum(0)
    by_mean += by_variance * (-2 * centred).sum(0) / m
    by_x = by_normalised / deviation + by_variance * 2 * centred / m + by_mean / m
    return by_x, normalised.T @ upstream, upstream.sum(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_gradients_equal_the_formulas(dtype, tolerance):
    x = (3 + normal(4, 3, 2, 5)).astype(dtype)
    w = normal(5, 6).astype(dtype)
    w0 = np.zeros(6, dtype)
    upstream = normal(4, 3, 2, 6).astype(dtype)
    layer = FusedBatchNormalization(scale=False, center=False, epsilon=1e-3, dtype=dtype)
    results = gradients(lambda x, w, w0: layer(x, training=True) @ w + w0, [x, w, w0], upstream)
    by_hand = formulas(x.reshape(-1, 5), w, 1e-3, upstream.reshape(-1, 6))
    for gradient, expected in zip(results, by_hand, strict=True):
        gradient = gradient.reshape(expected.shape)
        np.testing.assert_allclose(gradient, expected, rtol=tolerance, atol=tolerance)


def test_in_inference_an_image_does_not_see_its_batch():
    layer = pair()[0]
    x = normal(6, 4, 4, 3)
    np.testing.assert_allclose(layer(x)[2:3], layer(x[2:3]), rtol=1e-6, atol=1e-6)
    assert not np.allclose(layer(x, training=True)[2:3], layer(x[2:3], training=True), atol=0.01)
