"""Styles and blocks: layers, refusals, padding, groups, and how a signal passes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.models.blocks import NORMS, Style
from epochal.models.complexity import multiply_adds
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.weight_norm import initialize_from
from epochal.models.mobilenet import inverted_residual
from tests.support.tensors import as_model, naive_convolution, normal, precision, randomized

PLAIN = Style(norm="none")


# what a style consists of


def parts(style):
    """A convolution, a depthwise one and a dense layer, each normalised and activated."""

    def function(x):
        x = style.unit(x, 4, name="conv")
        x = style.activate(
            style.norm_layer(style.depthwise(x, name="depthwise"), name="depthwise"),
            name="depthwise",
        )
        return style.dense_unit(x, 4, name="dense")

    return as_model(function, (6, 6, 4))


WEIGHTS = {
    "batch": ["kernel", "gamma", "beta", "moving_mean", "moving_variance"],
    "layer": ["kernel", "gamma", "beta"],
    "weight": ["kernel", "bias", "gain"],
    "weight_mean": ["kernel", "gain", "beta", "moving_mean"],
    "normprop": ["kernel", "bias", "gain"],
    "none": ["kernel", "bias"],
}


@pytest.mark.parametrize("norm", NORMS)
def test_each_norm_has_its_weights_and_no_idle_bias(norm):
    assert [weight.name for weight in parts(Style(norm=norm)).weights] == 3 * WEIGHTS[norm]


def test_an_idle_bias_is_had_on_demand():
    names = [weight.name for weight in parts(Style(bias=True)).weights]
    assert names == 3 * ["kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"]


def test_batch_norm_is_the_fused_one_and_learns_a_tenth_of_each_batch():
    model = as_model(lambda x: Style().norm_layer(x, name="unit"), (3, 3, 4))
    x = 2 + normal(8, 3, 3, 4)
    layer = model.get_layer("unit_bn")
    model(x, training=True)
    assert isinstance(layer, FusedBatchNormalization)
    assert (layer.epsilon, layer.synchronized) == (1e-5, False)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * x.mean((0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("norm", "activation", "gain"),
    [
        ("weight", "relu", 2**0.5),
        ("weight", "prelu", 2**0.5),
        ("weight", "tanh", 1),
        ("normprop", "relu", 1 / 1.21),
    ],
)
def test_gains_start_where_they_keep_the_variance(norm, activation, gain):
    model = parts(Style(norm=norm, activation=activation))
    for name in ("conv_conv", "depthwise", "dense"):
        np.testing.assert_allclose(model.get_layer(name).gain, gain, rtol=1e-6)


@pytest.mark.parametrize(
    "activation", ["relu", "relu6", "leaky_relu", "prelu", "scaled_tanh", "maxout", "tanh", "elu"]
)
def test_units_have_the_width_that_was_asked_for(activation):
    assert parts_of_plain(activation).output.shape == (None, 6, 6, 5)


def parts_of_plain(activation):
    style = Style(norm="none", activation=activation)
    return as_model(lambda x: style.dense_unit(style.unit(x, 4, name="a"), 5, name="b"), (6, 6, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"norm": "group"},
            r"norm must be one of batch, layer, weight, weight_mean, normprop, none, got 'group'",
        ),
        (
            {"activation": "rellu"},
            r"relu, leaky_relu, prelu, scaled_tanh, .*maxout or .* Keras activation, got 'rellu'",
        ),
        ({"activation": None}, r"got None"),
        (
            {"norm": "normprop", "activation": "tanh"},
            r"norm 'normprop' needs the activation relu, got 'tanh'",
        ),
    ],
)
def test_a_style_that_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        Style(**options)
    assert "\n" not in str(refusal.value)


def test_maxout_is_refused_where_the_width_must_stay():
    with pytest.raises(ValueError, match="'maxout' halves the channels"):
        as_model(lambda x: Style(norm="none", activation="maxout").activate(x, name="unit"), (4,))


# convolutions


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("size", [8, 7])
def test_strided_convolution_is_centred_on_the_pixels_that_a_shortcut_keeps(kernel, size):
    style = Style(activation="linear")
    model = as_model(lambda x: style.unit(x, 1, kernel, stride=2, name="c"), (size, size, 1))
    centre = np.zeros((kernel, kernel, 1, 1), np.float32)
    centre[kernel // 2, kernel // 2] = 1
    model.get_layer("c_conv").kernel.assign(centre)
    x = normal(2, size, size, 1)
    np.testing.assert_allclose(model(x), x[:, ::2, ::2] / np.sqrt(1 + 1e-5), rtol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_splits_convolves_and_concatenates(groups):
    grouped = as_model(lambda x: PLAIN.conv(x, 12, groups=groups, name="conv"), (6, 6, 8))
    kernel = normal(3, 3, 8 // groups, 12)
    bias = normal(12, seed=1)
    grouped.get_layer("conv").set_weights([kernel, bias])
    x = normal(2, 6, 6, 8)
    single = as_model(lambda x: PLAIN.conv(x, 12 // groups, name="conv"), (6, 6, 8 // groups))
    found = []
    for part, *weights in zip(
        *(np.split(array, groups, -1) for array in (x, kernel, bias)), strict=True
    ):
        single.get_layer("conv").set_weights(weights)
        found.append(single(part))
    np.testing.assert_allclose(grouped(x), np.concatenate(found, -1), rtol=1e-5, atol=1e-5)
    whole = as_model(lambda x: PLAIN.conv(x, 12, name="conv"), (6, 6, 8))
    assert (
        grouped.get_layer("conv").kernel.numpy().size * groups
        == whole.get_layer("conv").kernel.numpy().size
    )
    assert multiply_adds(grouped) * groups == multiply_adds(whole)


@pytest.mark.parametrize(("channels", "filters", "groups"), [(6, 8, 4), (8, 6, 4)])
def test_groups_that_do_not_divide_are_refused_in_one_line(channels, filters, groups):
    with pytest.raises(
        ValueError, match=rf"{channels} in and {filters} out; got {groups}"
    ) as refusal:
        as_model(lambda x: PLAIN.conv(x, filters, groups=groups, name="conv"), (4, 4, channels))
    assert "\n" not in str(refusal.value)


# depthwise convolutions


@pytest.mark.parametrize(("width", "published"), [(32, 0.142), (64, 0.127), (512, 0.113)])
def test_a_separable_convolution_costs_1_over_n_plus_a_ninth(width, published):
    def separable(x):
        return PLAIN.conv(PLAIN.depthwise(x, name="depthwise"), width, 1, name="pointwise")

    costs = [
        multiply_adds(as_model(make, (4, 4, width)))
        for make in (separable, lambda x: PLAIN.conv(x, width, name="c"))
    ]
    assert costs[0] / costs[1] == pytest.approx(1 / width + 1 / 9)
    assert round(costs[0] / costs[1], 3) == published


def depthwise(style, stride, size, dtype=None):
    model = as_model(
        lambda x: style.depthwise(x, stride=stride, name="depthwise"), (size, size, 4), dtype
    )
    return randomized(model)


def by_definition(model, x, stride):
    """In float64, each channel a group of one."""
    layer = model.get_layer("depthwise")
    return (
        naive_convolution(x, layer.kernel.numpy().reshape(3, 3, 1, 4), stride=stride, pad=1)
        + layer.bias.numpy()
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [6, 7])
def test_a_depthwise_convolution_takes_each_channel_by_itself(stride, size):
    model = depthwise(PLAIN, stride, size)
    x = normal(2, size, size, 4)
    np.testing.assert_allclose(model(x), by_definition(model, x, stride), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "weight"])
@precision("mixed_bfloat16")
def test_a_strided_depthwise_convolution_computes_in_float32(norm):
    style = Style(norm=norm)
    x = tf.cast(normal(2, 6, 6, 4), "bfloat16")
    model = depthwise(style, 2, 6, "bfloat16")
    output = model(x)
    assert output.dtype == "float32"
    np.testing.assert_allclose(
        output, by_definition(model, tf.cast(x, "float32").numpy(), 2), rtol=1e-5, atol=1e-5
    )
    assert depthwise(style, 1, 6, "bfloat16")(x).dtype == "bfloat16"


@pytest.mark.parametrize("stride", [1, 2])
def test_the_last_convolution_of_an_inverted_residual_stays_linear(stride):
    style = Style(norm="none", activation="relu6")
    model = as_model(
        lambda x: inverted_residual(x, 4, expansion=3, stride=stride, style=style, name="b"),
        (6, 6, 4),
    )
    x = normal(2, 6, 6, 4)
    project = model.get_layer("b_project_conv")
    shortcut = x if stride == 1 else 0
    branch = model(x) - shortcut
    project.kernel.assign(-2 * project.kernel)
    np.testing.assert_allclose(model(x) - shortcut, -2 * branch, rtol=1e-4, atol=1e-5)
    assert np.any(branch)


# signals


def test_an_addition_under_normalization_propagation_keeps_the_variance():
    x = keras.Input((1000,))
    residual = keras.Input((1000,))
    model = keras.Model([x, residual], Style(norm="normprop").add(x, residual, name="sum"))
    y = model([normal(200, 1000), normal(200, 1000, seed=1)]).numpy()
    assert abs(y.mean()) < 4 / np.sqrt(y.size)
    assert abs(y.var() - 1) < 4 * np.sqrt(2 / y.size)


@pytest.mark.parametrize("norm", ["batch", "layer", "normprop", "none"])
def test_an_addition_elsewhere_adds(norm):
    model = as_model(lambda x: Style(norm=norm).add(x, x, name="sum"), (3,))
    factor = 2**0.5 if norm == "normprop" else 2
    np.testing.assert_allclose(model(normal(2, 3)), factor * normal(2, 3), rtol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "weight_mean", "normprop"])
def test_twenty_rectified_convolutions_carry_a_signal(norm):
    keras.utils.set_random_seed(0)
    style = Style(norm=norm)

    def stack(x):
        for i in range(20):
            x = style.unit(x, 32, name=f"unit{i}")
        return x

    model = as_model(stack, (6, 6, 32))
    x = normal(16, 6, 6, 32)
    if norm.startswith("weight"):
        initialize_from(model, x)
    outputs = [layer.output for layer in model.layers if layer.name.endswith("_relu")]
    deviations = [np.std(y) for y in keras.Model(model.input, outputs)(x, training=True)]
    assert len(deviations) == 20
    assert min(deviations) > 0.3
    assert max(deviations) < 3
