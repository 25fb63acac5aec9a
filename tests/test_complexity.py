"""Multiply-adds and parameter counts against sums written out by hand and figures from the papers."""

import keras
import pytest
from keras import layers

from models import build
from models.complexity import describe, multiply_adds, trainable_params
from models.layers.standardize import Standardize


def model_of(*stack, shape=(8, 6, 4)):
    return keras.Sequential([keras.Input(shape), *stack])


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 4 * 5),
        (layers.Conv2D(5, 3), 6 * 4 * 9 * 4 * 5),
        (layers.Conv2D(5, (1, 3), strides=2, padding="same"), 4 * 3 * 3 * 4 * 5),
        (layers.Conv2D(6, 3, groups=2, padding="same"), 8 * 6 * 9 * (4 // 2) * 6),
        (layers.Conv2D(5, 3, dilation_rate=2), 4 * 2 * 9 * 4 * 5),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 8 * 6 * 9 * 4 * 2),
        (layers.SeparableConv2D(5, 3, padding="same"), 8 * 6 * (9 * 4 + 4 * 5)),
        (layers.Dense(7), 8 * 6 * 4 * 7),
        (layers.BatchNormalization(), 0),
        (layers.PReLU(shared_axes=[1, 2, 3]), None),
        (layers.Conv2DTranspose(5, 3), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_one_layer(layer, expected):
    if expected is None:
        with pytest.raises(ValueError, match=f"Cannot count .* {type(layer).__name__}"):
            multiply_adds(model_of(layer))
    else:
        assert multiply_adds(model_of(layer)) == expected


def test_layers_add_up_through_nested_models():
    inner = model_of(layers.Flatten(), layers.Dense(3), shape=(8, 6, 5))
    assert multiply_adds(model_of(layers.Conv2D(5, 1), inner)) == 8 * 6 * 4 * 5 + 8 * 6 * 5 * 3


def test_only_what_training_changes_is_counted():
    frozen = layers.Dense(9, trainable=False)
    model = model_of(Standardize(), layers.Conv2D(5, 3), layers.BatchNormalization(), frozen)
    assert trainable_params(model) == (9 * 4 * 5 + 5) + 2 * 5


def resnet_cost(depth, *, projected):
    """Multiply-adds at 32x32x3: halving the sides and doubling the width leaves a layer's cost as it is."""
    layer = 9 * 16 * 16 * 32 * 32
    total = 27 * 16 * 32 * 32 + (depth - 2) * layer - 2 * (layer // 2) + 64 * 10
    return total + projected * 2 * (layer // 2 // 9)


@pytest.mark.parametrize(
    ("name", "depth", "published"),
    [
        ("resnet20", 20, 40.55),
        ("resnet32", 32, 68.86),
        ("resnet44", 44, 97.17),
        ("resnet56", 56, 125.49),
        pytest.param("resnet110", 110, 252.89, marks=pytest.mark.slow),
    ],
)
def test_residual_networks_cost_what_is_published(name, depth, published):
    cost = multiply_adds(build(name, (32, 32, 3), 10))
    assert cost == resnet_cost(depth, projected=False)
    assert round(cost / 1e6, 2) == published


def test_projections_cost_extra():
    assert multiply_adds(build("resnet20b", (32, 32, 3), 10)) == resnet_cost(20, projected=True)


def test_lenet_costs_what_its_layers_say():
    convolutions = 28 * 28 * 25 * 6 + 10 * 10 * 25 * 6 * 16
    assert multiply_adds(build("lenet5", (28, 28, 1), 10)) == convolutions + 400 * 120 + 120 * 84 + 84 * 10


def test_description_is_that_of_the_native_shape():
    row = describe("softmax")
    assert (row.name, row.params, row.multiply_adds, row.input_shape) == ("softmax", 7850, 7840, (28, 28, 1))
