"""Weight normalization: the algebra of the paper's section 2, and section 3's start from data."""

import keras
import numpy as np
import pytest

from epochal.models.blocks import Style
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization
from epochal.models.layers.weight_norm import (
    WeightNormConv2D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
    initialize_from,
)
from tests.support.tensors import as_model, gradients_of, normal, precision

# the layer, the stock one, and the axes of a kernel that belong to one output channel
KINDS = {
    "dense": (WeightNormDense, keras.layers.Dense, {"units": 5}, (0,)),
    "conv": (WeightNormConv2D, keras.layers.Conv2D, {"filters": 6, "kernel_size": 3}, (0, 1, 2)),
    "grouped": (
        WeightNormConv2D,
        keras.layers.Conv2D,
        {"filters": 6, "kernel_size": 3, "groups": 2},
        (0, 1, 2),
    ),
    "depthwise": (
        WeightNormDepthwiseConv2D,
        keras.layers.DepthwiseConv2D,
        {"kernel_size": 3},
        (0, 1),
    ),
}
X = normal(2, 5, 5, 4)
every_kind = pytest.mark.parametrize("kind", KINDS)


def length(weights, kind):
    return np.sqrt(np.sum(np.square(weights), KINDS[kind][-1], keepdims=True))


def pair(kind):
    """A float64 layer whose gains have either sign, and the stock one with the same kernel."""
    ours, theirs, sizes, _ = KINDS[kind]
    layer, stock = (make(dtype="float64", **sizes) for make in (ours, theirs))
    for made in (layer, stock):
        made.build(X.shape)
    layer.gain.assign(normal(*layer.gain.shape, seed=5))
    layer.bias.assign(normal(*layer.bias.shape, seed=6))
    stock.set_weights([layer.kernel.numpy(), layer.bias.numpy()])
    return layer, stock


@every_kind
def test_a_kernel_is_as_long_as_its_gain(kind):
    layer, _ = pair(kind)
    np.testing.assert_allclose(length(layer.kernel, kind), np.abs(layer.gain))
    assert layer.gain.numpy().size == layer.bias.numpy().size


@every_kind
def test_it_computes_what_the_stock_layer_does_with_that_kernel(kind):
    layer, stock = pair(kind)
    np.testing.assert_allclose(layer(X), stock(X), rtol=1e-12, atol=1e-12)
    layer.direction.assign(7 * layer.direction)
    np.testing.assert_allclose(layer(X), stock(X), rtol=1e-12, atol=1e-12)


@every_kind
def test_gradients_are_those_of_the_paper(kind):
    layer, stock = pair(kind)
    upstream = normal(*layer(X).shape, seed=1)
    found = dict(
        zip(["input", "kernel", "bias", "gain"], gradients_of(layer, X, upstream), strict=True)
    )
    _, by_kernel, _ = gradients_of(stock, X, upstream)
    direction = layer.direction / length(layer.direction, kind)
    axes = KINDS[kind][-1]
    np.testing.assert_allclose(
        found["gain"], np.sum(by_kernel * direction, axes, keepdims=True), atol=1e-12
    )  # eq. 3
    assert (
        np.abs(np.sum(found["kernel"] * direction, axes)).max() < 1e-12
    )  # section 2.1: at right angles
    shortened = layer.gain / length(layer.direction, kind)
    np.testing.assert_allclose(
        found["kernel"], shortened * (by_kernel - found["gain"] * direction), atol=1e-12
    )


@every_kind
def test_gains_start_where_they_are_told(kind):
    ours, _, sizes, _ = KINDS[kind]
    layer = ours(gain=1.5, **sizes)
    layer.build(X.shape)
    np.testing.assert_allclose(length(layer.kernel, kind), 1.5, rtol=1e-6)
    assert [weight.name for weight in layer.weights] == ["kernel", "bias", "gain"]
    assert layer.weights[0].shape == layer.kernel.shape


@every_kind
def test_without_bias_it_starts_from_data_with_its_gain_alone(kind):
    ours, _, sizes, _ = KINDS[kind]
    model = as_model(ours(use_bias=False, **sizes), X.shape[1:])
    initialize_from(model, X)
    values = np.asarray(model(X)).reshape(-1, model.output.shape[-1])
    assert [weight.name for weight in model.weights] == ["kernel", "gain"]
    np.testing.assert_allclose(values.std(0), 1, rtol=1e-4)


@every_kind
def test_mixed_precision_rounds_the_kernel_and_keeps_the_weights(kind):
    ours, _, sizes, _ = KINDS[kind]
    layer = ours(dtype="mixed_bfloat16", **sizes)
    exact = ours(**sizes)
    for made in (layer, exact):
        made.build(X.shape)
    exact.set_weights(layer.get_weights())
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    output = layer(X)
    assert output.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(output, np.float32), exact(X), atol=0.05)
    assert all(
        np.isfinite(gradient).all() for gradient in gradients_of(layer, X, normal(*output.shape))
    )


# the start from data


def network(style):
    """Convolutions, a depthwise and a strided one, a flattening, dense layers."""

    def function(x):
        x = style.unit(x, 8, name="a")
        x = style.activate(style.depthwise(x, stride=2, name="b_conv"), name="b")
        x = style.unit(x, 12, 1, name="c")
        x = style.dense_unit(keras.layers.Flatten()(x), 10, name="d")
        return style.dense_unit(x, 7, name="e")

    return as_model(function, (6, 6, 3))


def before_activation(model, x):
    """What each layer with weights passes on, `[values, channels]`."""
    outputs = [layer.output for layer in model.layers if layer.weights]
    return [
        np.asarray(y, np.float32).reshape(-1, y.shape[-1])
        for y in keras.Model(model.input, outputs)(x)
    ]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_initialisation_standardises_every_layer_on_that_batch(activation):
    model = network(Style(norm="weight", activation=activation))
    x = 5 + 3 * normal(64, 6, 6, 3)
    model.get_layer("a_conv").bias.assign(normal(8))
    directions = [layer.direction.numpy() for layer in model.layers if layer.weights]
    initialize_from(model, x)
    found = before_activation(model, x)
    assert len(found) == 5
    for values in found:
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    for layer, direction in zip(
        [layer for layer in model.layers if layer.weights], directions, strict=True
    ):
        np.testing.assert_array_equal(layer.direction, direction)
    assert np.abs(before_activation(model, 2 * x)[0].std(0) - 1).min() > 0.5  # it happens once


def test_with_mean_only_batch_norm_the_moving_mean_starts_from_data_too():
    model = network(Style(norm="weight_mean"))
    x = 5 + 3 * normal(64, 6, 6, 3)
    initialize_from(model, x)
    centred = [
        layer.output for layer in model.layers if isinstance(layer, MeanOnlyBatchNormalization)
    ]
    assert len(centred) == 4  # the depthwise convolution stands alone
    for y in keras.Model(model.input, centred)(x):
        values = np.asarray(y).reshape(-1, y.shape[-1])
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-4)


@precision("mixed_bfloat16")
def test_initialisation_under_mixed_precision_is_as_good_as_its_rounding():
    keras.utils.set_random_seed(0)
    model = network(Style(norm="weight"))
    x = normal(64, 6, 6, 3)
    initialize_from(model, x)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    for values in before_activation(model, x):
        np.testing.assert_allclose(values.mean(0), 0, atol=0.02)
        np.testing.assert_allclose(values.std(0), 1, atol=0.02)


def test_initialisation_standardises_what_an_activation_inside_the_layer_receives():
    x = normal(50, 4)
    layer = WeightNormDense(6, activation="relu")
    model = as_model(layer, (4,))
    initialize_from(model, x)
    values = (x @ layer.kernel + layer.bias).numpy()
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(model(x), np.maximum(values, 0), atol=1e-5)


def test_a_channel_that_never_varies_stays_finite():
    model = as_model(WeightNormDense(3), (4,))
    initialize_from(model, np.zeros((8, 4), np.float32))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_initialisation_leaves_other_models_alone(norm):
    model = network(Style(norm=norm))
    before = model.get_weights()
    initialize_from(model, normal(4, 6, 6, 3))
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_initialisation_reaches_nested_models():
    inner = as_model(WeightNormDense(3, name="inner"), (4,))
    model = as_model(lambda x: inner(x), (4,))
    x = normal(30, 4)
    initialize_from(model, x)
    np.testing.assert_allclose(np.std(model(x), 0), 1, atol=1e-5)
