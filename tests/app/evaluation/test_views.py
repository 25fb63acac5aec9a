"""Views of images against NumPy's slices, and the mean of their probabilities."""

from dataclasses import replace
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from epochal.app.config import Augment, Config, Evaluation
from epochal.app.data.preprocessing import ImageShape
from epochal.app.errors import UsageError
from epochal.app.evaluation.logits import predict_logits
from epochal.app.evaluation.views import Views, views_for

LARGER = ImageShape(channels=3, stored_size=13, image_size=10)
EQUAL = ImageShape(channels=3, stored_size=16, image_size=16)
MODES = {"reflect": "reflect", "black": "constant"}


def views_of(name: str, shape: ImageShape, **augment) -> Views:
    config = Config(
        dataset="cifar10", evaluation=Evaluation(views=name), augment=Augment(**augment)
    )
    return views_for(config, shape, flippable=True)


def images_of(shape: ImageShape, count: int = 2) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(1, 256, (count, *shape.stored_shape), dtype=np.uint8)


def cut(views: Views, images: np.ndarray) -> np.ndarray:
    """The views `[V, N, s, s, C]`, equal eagerly and inside tf.data."""
    eager = views.cut(tf.constant(images)).numpy()
    (piped,) = tf.data.Dataset.from_tensors(images).map(views.cut).as_numpy_iterator()
    np.testing.assert_array_equal(eager, piped)
    assert eager.dtype == np.uint8
    return eager.reshape(len(views.windows), len(images), *views.shape.input_shape)


def test_corners_and_centre_of_a_larger_image_are_exact() -> None:
    images = images_of(LARGER)
    centre, *corners = cut(views_of("five_crop", LARGER), images)
    np.testing.assert_array_equal(centre, images[:, 1:11, 1:11])
    for corner, (top, left) in zip(corners, product((0, 3), (0, 3)), strict=True):
        np.testing.assert_array_equal(corner, images[:, top : top + 10, left : left + 10])


@pytest.mark.parametrize("border", MODES)
def test_corners_of_an_image_that_is_all_seen_are_those_of_the_padded_one(border: str) -> None:
    images = images_of(EQUAL)
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], MODES[border])
    centre, *corners = cut(views_of("five_crop", EQUAL, border=border), images)
    np.testing.assert_array_equal(centre, images)
    for corner, (top, left) in zip(corners, product((0, 4), (0, 4)), strict=True):
        np.testing.assert_array_equal(corner, padded[:, top : top + 16, left : left + 16])


@pytest.mark.parametrize(
    ("both", "plain"),
    [("ten_crop", "five_crop"), ("mirrored", "none"), ("mirrored_shifted", "shifted")],
)
@pytest.mark.parametrize("shape", [LARGER, EQUAL])
def test_the_mirrored_ones_are_the_others_and_their_mirror_images(
    both: str, plain: str, shape: ImageShape
) -> None:
    images = images_of(shape)
    without = cut(views_of(plain, shape), images)
    mirrored = cut(views_of(both, shape), images)
    np.testing.assert_array_equal(mirrored, np.concatenate([without, without[..., ::-1, :]]))


@settings(max_examples=20)
@given(st.integers(8, 96), st.integers(0, 5), st.sampled_from(sorted(MODES)))
def test_shifted_ones_are_moved_by_a_pixel_in_32(size: int, margin: int, border: str) -> None:
    shape = ImageShape(channels=1, stored_size=size + margin, image_size=size)
    images = images_of(shape)
    by = max(1, round(size / 32))
    padded = np.pad(images, [(0, 0), (by, by), (by, by), (0, 0)], MODES[border])
    start = by + margin // 2
    views = cut(views_of("shifted", shape, border=border), images)
    for view, (down, right) in zip(
        views, [(0, 0), (-by, 0), (by, 0), (0, -by), (0, by)], strict=True
    ):
        rows = slice(start + down, start + down + size)
        columns = slice(start + right, start + right + size)
        np.testing.assert_array_equal(view, padded[:, rows, columns])


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([1.0, 30.0, 300.0]))
def test_the_average_is_that_of_probabilities(seed: int, scale: float) -> None:
    views = views_of("five_crop", LARGER)
    logits = scale * np.random.default_rng(seed).normal(size=(5, 4, 3))
    averaged = views.average(tf.constant(logits.reshape(20, 3), tf.float32)).numpy()
    assert np.isfinite(averaged).all()
    expected = softmax(logits, axis=-1).mean(axis=0)
    np.testing.assert_allclose(softmax(averaged, axis=-1), expected, atol=2e-5)
    np.testing.assert_allclose(np.exp(averaged.astype(float)).sum(axis=1), 1, atol=1e-5)


def linear_model(shape: ImageShape) -> keras.Model:
    inputs = keras.Input(shape.input_shape, dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    flat = keras.layers.Flatten()(scaled)
    kernel = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    return keras.Model(inputs, keras.layers.Dense(4, kernel_initializer=kernel)(flat))


def test_a_network_answers_with_the_mean_over_its_views_whatever_the_batch() -> None:
    model = linear_model(LARGER)
    views = views_of("ten_crop", LARGER)
    images = images_of(LARGER, 5)
    labels = np.arange(5)
    batches = [(images[:3], labels[:3]), (images[3:], labels[3:])]
    logits, seen = predict_logits(model, batches, views)
    np.testing.assert_array_equal(seen, labels)
    expected = np.zeros((5, 4))
    for view in cut(views, images):
        expected += softmax(model(view).numpy().astype(float), axis=1) / 10
    np.testing.assert_allclose(softmax(logits, axis=1), expected, atol=1e-5)
    with pytest.raises(ValueError, match="13"):
        predict_logits(model, [(images[:, 1:11, 1:11], labels)], views)


def test_one_view_is_what_the_network_says_of_the_centre() -> None:
    model = linear_model(LARGER)
    images = images_of(LARGER)
    labels = np.arange(2)
    with_views, _ = predict_logits(model, [(images, labels)], views_of("none", LARGER))
    without, _ = predict_logits(model, [(images[:, 1:11, 1:11], labels)])
    np.testing.assert_array_equal(with_views, without)


def test_what_belongs_to_the_centre_comes_first() -> None:
    views = views_of("five_crop", LARGER)
    values = tf.reshape(tf.range(5 * 2 * 3), [10, 3])
    np.testing.assert_array_equal(views.of_first(values), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("name", ["mirrored", "mirrored_shifted", "ten_crop"])
def test_mirror_images_that_show_other_classes_are_refused(name: str) -> None:
    config = Config(evaluation=Evaluation(views=name), augment=Augment(pad_crop=1))
    with pytest.raises(UsageError, match=rf"views {name}: .* digits"):
        views_for(config, EQUAL, flippable=False)
    trained_on_them = replace(config, augment=Augment(pad_crop=1, flip=True))
    assert views_for(trained_on_them, EQUAL, flippable=False).windows[-1].mirrored


def test_crops_without_room_are_refused() -> None:
    with pytest.raises(UsageError, match=r"sees all 16 pixels .* --augment.pad-crop"):
        views_of("five_crop", EQUAL, pad_crop=0)
