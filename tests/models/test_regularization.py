"""Stochastic depth, and rates of dropout as options of the zoo's networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal import models
from epochal.app.config import Config
from epochal.models.blocks import Style
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.stochastic_depth import StochasticDepth
from epochal.models.zoo import ZOO

DTYPES = ("float32", "bfloat16", "float16", "float64")


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_images_are_left_out_whole_and_the_mean_is_kept(rate: float) -> None:
    images = 20_000
    outputs = StochasticDepth(rate, seed=1)(tf.ones((images, 2, 1, 3)), training=True).numpy()
    kept = outputs.reshape(images, -1)
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 6, axis=1))
    sigma = np.sqrt(rate * (1 - rate) / images)
    assert abs(np.mean(kept > 0) - (1 - rate)) < 3 * sigma
    np.testing.assert_allclose(kept[kept > 0], 1 / (1 - rate), rtol=1e-6)


def test_an_image_draws_the_same_in_every_precision_and_in_a_graph() -> None:
    x = tf.random.stateless_normal((40, 3, 3, 2), (1, 2))
    left_out = []
    for dtype in DTYPES:
        layer = StochasticDepth(0.5, seed=5, dtype=dtype)
        outputs = tf.function(lambda x, layer=layer: layer(x, training=True))(x)
        assert outputs.dtype == dtype
        assert outputs.shape == x.shape
        assert np.isfinite(tf.cast(outputs, "float32")).all()
        left_out.append(np.all(outputs == 0, axis=(1, 2, 3)))
    assert 5 < left_out[0].sum() < 35
    for images in left_out[1:]:
        np.testing.assert_array_equal(images, left_out[0])


def test_it_is_the_identity_outside_training() -> None:
    layer = StochasticDepth(0.5, seed=1)
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), x)
    graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(x)
    assert not [op for op in graph.graph.get_operations() if "Random" in op.type]


RESIDUALS = {
    "resnet20": 9,
    "resnet20_v2": 9,
    "wrn16_4": 6,
    "resnext29_32x4d": 9,
    "mobilenet_v2_cifar": 10,
    "xception_cifar": 6,
    "inception_resnet_cifar": 9,
}


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "wrn16_4",
        pytest.param("resnet20_v2", marks=pytest.mark.slow),
        pytest.param("resnext29_32x4d", marks=pytest.mark.slow),
        pytest.param("mobilenet_v2_cifar", marks=pytest.mark.slow),
        pytest.param("xception_cifar", marks=pytest.mark.slow),
        pytest.param("inception_resnet_cifar", marks=pytest.mark.slow),
    ],
)
def test_rates_rise_linearly_to_that_of_the_last_residual(name: str) -> None:
    """Huang et al. 2016, equation 4: block l of L is left out with the chance l / L * rate."""
    network = build(name, stochastic_depth=0.5)
    rates = [layer.rate for layer in network.layers if isinstance(layer, StochasticDepth)]
    count = RESIDUALS[name]
    np.testing.assert_allclose(rates, 0.5 * np.arange(1, count + 1) / count)
    plain = build(name)
    # Keras sorts layers by their distance from the output, so that the order may be another.
    paths = sorted(weight.path for weight in network.weights)
    assert paths == sorted(weight.path for weight in plain.weights)


def build(name: str, **options: float) -> keras.Model:
    row = ZOO[name]
    return models.build(name, row.input_shape, 10, options=options)


def test_without_its_branches_a_residual_network_is_its_shortcuts() -> None:
    keras.utils.set_random_seed(1)
    style = Style(stochastic_depth=0.999)
    inputs = keras.Input((4,))
    branch = keras.layers.Dense(4)(inputs)
    network = keras.Model(inputs, style.add(inputs, branch, name="only"))
    x = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    unchanged = np.all(network(x, training=True) == x, axis=1)
    assert unchanged.sum() >= 490
    assert not np.all(network(x, training=False) == x, axis=1).any()


@pytest.mark.parametrize(
    ("name", "count", "own"),
    [
        ("mlp", 2, 0.2),
        ("lenet300", 2, None),
        ("wrn16_4", 6, None),
        pytest.param("densenet_40_12", 3 * 12 + 2, None, marks=pytest.mark.slow),
        pytest.param("googlenet", 1, 0.4, marks=pytest.mark.slow),
        pytest.param("alexnet", 2, 0.5, marks=pytest.mark.slow),
        pytest.param("vgg16", 2, 0.5, marks=pytest.mark.slow),
        pytest.param("densenet_bc_40_12", 2 * 3 * 6 + 2, None, marks=pytest.mark.slow),
    ],
)
def test_a_rate_of_dropout_is_that_of_every_dropout_layer(
    name: str, count: int, own: float | None
) -> None:
    def rates(**options: float) -> list[float]:
        network = build(name, **options)
        return [layer.rate for layer in network.layers if isinstance(layer, PerSampleDropout)]

    assert rates() == ([] if own is None else [own] * count)
    assert rates(dropout=0.25) == [0.25] * count
    assert rates(dropout=0.0) == []


def test_pixels_are_dropped_before_the_first_dense_layer() -> None:
    network = build("mlp", dropout=0.5, input_dropout=0.2)
    layers = {layer.name: layer for layer in network.layers}
    assert layers["input_dropout"].rate == 0.2
    assert layers["input_dropout"].output is layers["hidden1"].input
    assert layers["dropout1"].rate == layers["dropout2"].rate == 0.5


@pytest.mark.parametrize("option", ["dropout", "input_dropout", "stochastic_depth"])
def test_a_network_without_such_layers_refuses_the_rate_by_name(option: str) -> None:
    refused = 0
    for name, row in ZOO.items():
        if option in row.options:
            models.check_options(name, {option: 0.5})
        else:
            with pytest.raises(ValueError, match=f"^{name} has .*, got {option} 0.5; leave it out"):
                models.check_options(name, {option: 0.5})
            refused += 1
    assert refused > 10
    with pytest.raises(ValueError, match=f"{option} must be from 0 to below 1, got 1.0"):
        Config(**{option: 1.0})
    with pytest.raises(ValueError, match=f"{option} must be at least 0 and below 1, got 1.0"):
        Style(**{option: 1.0})
