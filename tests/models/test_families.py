"""What only one family promises."""

import keras
import numpy as np
import pytest

from epochal import models
from epochal.models.blocks import Style
from epochal.models.complexity import trainable_params
from epochal.models.densenet import densenet_cifar
from epochal.models.mlp import mlp
from epochal.models.resnet import resnet_cifar
from epochal.models.wide_resnet import wide_resnet
from tests.support.zoo import PARAMS, build, images

PLAIN = Style(norm="none")


def features(shape):
    return keras.Input(shape)


def test_softmax_regression_starts_undecided():
    np.testing.assert_array_equal(build("softmax")(images((8, 8, 1))), np.zeros((4, 5)))


def test_softmax_regression_is_an_affine_map_of_the_standardised_pixels():
    model = build("softmax")
    kernel = np.random.default_rng(1).normal(size=(64, 5))
    bias = np.arange(5.0)
    model.get_layer("logits").set_weights([kernel, bias])
    pixels = images((8, 8, 1)).reshape(4, 64).astype(float)
    np.testing.assert_allclose(
        model(images((8, 8, 1))), (pixels - 120) / 60 @ kernel + bias, rtol=1e-4, atol=1e-4
    )


def test_a_perceptron_on_large_images_has_sixteen_million_parameters():
    pixels = features((128, 128, 1))
    assert trainable_params(models.build("softmax", (128, 128, 1), 10)) == 128 * 128 * 10 + 10
    model = keras.Model(pixels, mlp(pixels, 10, PLAIN, hidden=[1000]))
    assert trainable_params(model) == 16_395_010


def test_perceptron_takes_an_activation_for_each_layer_and_a_hundred_layers():
    x = features((4, 4, 1))
    model = keras.Model(
        x, mlp(x, 3, PLAIN, hidden=[8, 7, 6, 5], activations=["relu", "relu", "tanh", "sigmoid"])
    )
    made = [
        layer.name
        for layer in model.layers
        if layer.name.startswith("hidden") and "_" in layer.name
    ]
    assert made == ["hidden1_relu", "hidden2_relu", "hidden3_tanh", "hidden4_sigmoid"]
    deep = keras.Model(x, mlp(x, 3, PLAIN, hidden=[4] * 100))
    assert trainable_params(deep) == (16 * 4 + 4) + 99 * (4 * 4 + 4) + (4 * 3 + 3)


def test_perceptron_refuses_activations_that_do_not_match():
    with pytest.raises(ValueError, match=r"each of the 2 hidden layers, got \['relu'\]"):
        mlp(features((4, 4, 1)), 3, PLAIN, hidden=[8, 7], activations=["relu"])


@pytest.mark.parametrize("size", [8, 28, 31, 32])
def test_lenet_centres_small_images_in_the_canvas_of_the_paper(size):
    assert trainable_params(models.build("lenet5", (size, size, 1), 10)) == PARAMS["lenet5"]
    model = build("lenet5", (size, size, 1))
    before = (32 - size) // 2
    canvas = np.full(
        (4, 32, 32, 1), 120, np.uint8
    )  # the mean of `build`, which standardises to zero
    canvas[:, before : before + size, before : before + size] = images((size, size, 1))
    whole = build("lenet5", (32, 32, 1))
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images((size, size, 1))), whole(canvas), rtol=1e-5, atol=1e-6)


def test_residual_stages_halve_the_image_and_double_the_width():
    model = build("resnet8", (33, 30, 3))
    shapes = [model.get_layer(f"stage{stage}_block1_relu").output.shape[1:] for stage in (1, 2, 3)]
    assert shapes == [(33, 30, 16), (17, 15, 32), (9, 8, 64)]


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        (resnet_cifar, {"depth": 21}, r"depth must be 6n \+ 2, got 21; the nearest are 20 and 26"),
        (resnet_cifar, {"depth": 2}, r"depth must be 6n \+ 2, got 2; the nearest are 8"),
        (
            resnet_cifar,
            {"depth": 111, "bottleneck": True},
            r"9n \+ 2, got 111; the nearest are 110 and 119",
        ),
        (
            wide_resnet,
            {"depth": 27, "factor": 2},
            r"depth must be 6n \+ 4, got 27; the nearest are 22 and 28",
        ),
        (
            densenet_cifar,
            {"depth": 41, "growth": 12},
            r"depth must be 6n \+ 4, got 41; the nearest are 40 and 46",
        ),
    ],
)
def test_depths_that_do_not_exist_are_refused_with_the_nearest(family, options, message):
    with pytest.raises(ValueError, match=message):
        family(features((8, 8, 1)), 10, Style(), **options)


def test_batch_norm_learns_a_tenth_of_each_batch():
    model = build("resnet8")
    stem = model.get_layer("stem_conv").output
    values = keras.Model(model.input, stem)(images((8, 8, 1)))
    model(images((8, 8, 1)), training=True)
    expected = 0.1 * np.mean(values, axis=(0, 1, 2))
    np.testing.assert_allclose(
        model.get_layer("stem_bn").moving_mean, expected, rtol=1e-4, atol=1e-6
    )
    assert {
        layer.epsilon
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    } == {1e-5}
