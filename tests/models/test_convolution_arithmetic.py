"""The arithmetic of convolution and pooling, through the layers that the zoo is made of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from scipy import ndimage, signal

from epochal.models.blocks import Style
from epochal.models.complexity import trainable_params
from epochal.models.heads import pooled_classifier
from tests.support.tensors import as_model, gradients, naive_convolution, normal

PLAIN = Style(norm="none")


# convolution


@given(
    size=st.tuples(st.integers(5, 8), st.integers(5, 8)),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    padded=st.booleans(),
)
@settings(max_examples=15)
def test_a_convolution_is_a_cross_correlation(size, kernel, stride, padded):
    options = {} if padded else {"padding": "valid"}
    model = as_model(
        lambda x: PLAIN.conv(x, 2, kernel, stride=stride, name="conv", **options), (*size, 3)
    )
    x = normal(2, *size, 3)
    weights = normal(kernel, kernel, 3, 2, seed=1)
    bias = normal(2, seed=2)
    model.get_layer("conv").set_weights([weights, bias])
    pad = kernel // 2 if padded else 0
    expected = naive_convolution(x, weights, stride=stride, pad=pad) + bias
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)
    assert model.output.shape[1:3] == tuple((n + 2 * pad - kernel) // stride + 1 for n in size)


def test_three_layers_have_their_shapes_and_sizes():
    def stack(x):
        for i, filters in enumerate([5, 8, 12]):
            x = PLAIN.unit(x, filters, 5, padding="valid", name=f"unit{i}")
        return x

    model = as_model(stack, (32, 32, 3))
    convolutions = [layer for layer in model.layers if layer.weights]
    assert [layer.output.shape[1:] for layer in convolutions] == [
        (28, 28, 5),
        (24, 24, 8),
        (20, 20, 12),
    ]
    assert [layer.count_params() for layer in convolutions] == [380, 1008, 2412]


# filters whose effect is known


FILTERS = {
    "edges": (np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]), 0),
    "sharpen": (np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]), 1),
    "box": (np.ones((3, 3)) / 9, 1),
    "gaussian": (np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16, 1),
}


def filtered(kernel, image, **options):
    model = as_model(lambda x: PLAIN.conv(x, 1, 3, name="conv", **options), (*image.shape, 1))
    model.get_layer("conv").set_weights([kernel[..., None, None], np.zeros(1)])
    return model(image[None, ..., None])[0, ..., 0].numpy()


@pytest.mark.parametrize("name", FILTERS)
def test_known_filters(name):
    kernel, total = FILTERS[name]
    assert kernel.sum() == pytest.approx(total)
    flat = np.full((6, 7), 0.7, np.float32)
    np.testing.assert_allclose(
        filtered(kernel, flat, padding="valid"), np.full((4, 5), total * 0.7), atol=1e-6
    )
    image = normal(6, 7)
    np.testing.assert_allclose(
        filtered(kernel, image, padding="valid"),
        signal.correlate2d(image, kernel, "valid"),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        filtered(kernel, image), ndimage.correlate(image, kernel, mode="constant"), atol=1e-5
    )


def test_a_convolution_does_not_flip_its_kernel():
    kernel = np.arange(9.0).reshape(3, 3)
    image = normal(6, 7)
    np.testing.assert_allclose(
        filtered(kernel, image), signal.correlate2d(image, kernel, "same"), atol=1e-4
    )
    assert not np.allclose(
        filtered(kernel, image), signal.convolve2d(image, kernel, "same"), atol=0.1
    )


# pooling

POOL = layers.MaxPooling2D(2)


def squares(rows):
    return np.array(rows, np.float32)[None, ..., None]


def test_a_maximum_of_four_pixels():
    image = squares([[3, 1, 3, 5], [6, 0, 7, 9], [3, 2, 1, 4], [0, 2, 4, 3]])
    np.testing.assert_array_equal(POOL(image), squares([[6, 9], [3, 4]]))


def test_a_maximum_sends_its_gradient_to_where_it_came_from():
    image = squares([[3, 1, 3, 5], [6, 0, 7, 9], [3, 2, 1, 0], [0, 2, 4, 3]])
    upstream = squares([[10, 20], [30, 40]])
    expected = squares([[0, 0, 0, 0], [10, 0, 0, 20], [30, 0, 0, 0], [0, 0, 40, 0]])
    np.testing.assert_array_equal(gradients(POOL, [image], upstream)[0], expected)


def test_of_equals_one_gets_the_whole_gradient():
    image = squares([[1, 1, 0, 2], [1, 1, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]])
    upstream = squares([[10, 20], [30, 40]])
    (gradient,) = gradients(POOL, [image], upstream)
    windows = gradient.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4)
    for window, total in zip(windows, upstream.ravel(), strict=True):
        assert sorted(window) == [0, 0, 0, total]
    maxima = enlarged(POOL(image))
    assert not gradient[image < maxima].any()


def enlarged(images):
    """Each pixel as a square of four."""
    return np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)


def test_global_average_pooling_makes_the_classifier_independent_of_the_size():
    models = [as_model(lambda x: pooled_classifier(x, 10), (size, size, 12)) for size in (32, 64)]
    assert [trainable_params(model) for model in models] == [12 * 10 + 10] * 2
    for model in models:
        x = normal(2, *model.input.shape[1:])
        kernel, bias = model.get_layer("logits").get_weights()
        np.testing.assert_allclose(model(x), x.mean((1, 2)) @ kernel + bias, rtol=1e-4, atol=1e-6)
    small, large = models
    large.set_weights(small.get_weights())
    x = normal(2, 32, 32, 12)
    np.testing.assert_allclose(large(enlarged(x)), small(x), rtol=1e-4, atol=1e-6)
