"""The zoo's non-linearities, by closed forms and by what they can be made to imitate."""

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.models.blocks import Style
from epochal.models.complexity import trainable_params
from epochal.models.layers.maxout import Maxout
from epochal.models.layers.scaled_tanh import scaled_tanh
from epochal.models.layers.sparsemax import sparsemax
from tests.support.tensors import as_model, gradients, normal


def plain(activation):
    return Style(norm="none", activation=activation)


def activated(activation, shape):
    return as_model(lambda x: plain(activation).activate(x, name="unit"), shape)


# maxout


@given(
    outer=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    channels=st.integers(1, 4),
    pieces=st.integers(1, 4),
)
@settings(max_examples=30)
def test_maxout_is_the_largest_of_neighbouring_channels(outer, channels, pieces):
    x = normal(*outer, channels * pieces)
    layer = Maxout(pieces)
    expected = np.stack(
        [x[..., c * pieces : (c + 1) * pieces].max(-1) for c in range(channels)], -1
    )
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    assert layer.weights == []


@pytest.mark.parametrize(
    ("second_piece", "function"),
    [(0, lambda x: np.maximum(x, 0)), (-1, np.abs)],
    ids=["relu", "abs"],
)
def test_maxout_reproduces_other_functions_exactly(second_piece, function):
    model = as_model(lambda x: plain("maxout").dense_unit(x, 3, name="unit"), (3,))
    kernel = np.zeros((3, 3, 2))  # input, unit, piece
    kernel[..., 0] = np.eye(3)
    kernel[..., 1] = second_piece * np.eye(3)
    model.get_layer("unit").set_weights([kernel.reshape(3, 6), np.zeros(6)])
    x = normal(50, 3)
    np.testing.assert_array_equal(model(x), function(x))


@pytest.mark.parametrize(
    "make",
    [
        lambda style, x: style.dense_unit(x, 7, name="unit"),
        lambda style, x: style.unit(x, 7, name="unit"),
    ],
    ids=["dense", "conv"],
)
def test_two_pieces_double_the_parameters_and_keep_the_width(make):
    maxout = as_model(partial(make, plain("maxout")), (6, 6, 4))
    relu = as_model(partial(make, plain("relu")), (6, 6, 4))
    assert maxout.output.shape == relu.output.shape
    assert trainable_params(maxout) == 2 * trainable_params(relu)


@pytest.mark.parametrize(
    ("pieces", "channels", "message"),
    [(2, 5, "2 pieces needs a multiple .* got 5"), (3, 4, "got 4")],
)
def test_maxout_refuses_channels_that_do_not_divide(pieces, channels, message):
    with pytest.raises(ValueError, match=message):
        Maxout(pieces)(np.zeros((1, channels), np.float32))


def test_maxout_refuses_to_be_of_nothing():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Maxout(0)


# the others


def test_lecuns_tanh_maps_targets_to_themselves():
    x = np.array([-1.0, 0.0, 1.0])
    np.testing.assert_allclose(scaled_tanh(x), x, atol=1e-4)
    np.testing.assert_allclose(activated("scaled_tanh", (3,))(x[None])[0], x, atol=1e-4)
    grid = np.linspace(-4, 4, 33)
    np.testing.assert_allclose(scaled_tanh(grid), 1.7159 * np.tanh(2 * grid / 3), rtol=1e-6)


def test_leaky_relu_leaks_a_hundredth():
    x = np.array([[-2.0, -0.5, 0.5, 2.0]], np.float32)
    model = activated("leaky_relu", (4,))
    np.testing.assert_allclose(model(x), [[-0.02, -0.005, 0.5, 2]], rtol=1e-6)
    (gradient,) = gradients(model, [x], np.ones(x.shape))
    np.testing.assert_allclose(gradient, [[0.01, 0.01, 1, 1]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (4, 3, 5)], ids=["dense", "conv"])
def test_prelu_learns_a_slope_a_channel_from_a_quarter(shape):
    model = activated("prelu", shape)
    (slopes,) = model.get_weights()
    assert slopes.size == 5
    np.testing.assert_array_equal(slopes, np.full(slopes.shape, 0.25))
    chosen = np.arange(1, 6) / 10
    model.set_weights([chosen.reshape(slopes.shape)])
    x = normal(2, *shape)
    np.testing.assert_allclose(model(x), np.where(x > 0, x, chosen * x), rtol=1e-6)
    np.testing.assert_allclose(
        gradients(model, [x], np.ones(x.shape))[0], np.where(x > 0, 1, chosen), rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_sparsemax_projects_onto_the_simplex_in_every_precision(dtype):
    """The closed form of Martins and Astudillo 2016, section 2.2, of more channels than 256."""
    x = keras.ops.cast(normal(4, 300) + np.linspace(0, 2, 300), dtype)
    exact = keras.ops.convert_to_numpy(keras.ops.cast(x, "float64"))
    expected = []
    for row in exact:
        ordered = np.sort(row)[::-1]
        count = sum(1 + k * z > ordered[:k].sum() for k, z in enumerate(ordered, 1))
        threshold = (ordered[:count].sum() - 1) / count
        expected.append(np.maximum(row - threshold, 0))
    answer = sparsemax(x)
    assert keras.backend.standardize_dtype(answer.dtype) == dtype
    tolerance = {"float16": 1e-3, "bfloat16": 5e-3}.get(dtype, 1e-5)
    np.testing.assert_allclose(keras.ops.cast(answer, "float64"), expected, atol=tolerance)
