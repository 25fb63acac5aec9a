"""Changes of levels against colorsys, Pillow, SciPy and closed forms."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from epochal.app.config import Augment, Config, Data
from epochal.app.data.augment.augmentation import round_levels
from epochal.app.data.augment.colour import (
    Colour,
    colour_axes,
    colour_map,
    map_channels,
    turn_hues,
)
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.augment.erasing import Cutout, Erasing
from epochal.app.data.augment.noise import Blur, Noise, blur
from epochal.app.data.load import load
from tests.support.drawn import drawn

COUNT = 8
RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.integers(0, 256, (COUNT, 12, 12, 3), dtype=np.uint8)
LEVELS = tf.constant(IMAGES, tf.float32)
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}
MEAN = (100.0, 110.0, 120.0)


@settings(max_examples=15)
@given(st.floats(-0.5, 0.5))
def test_hues_are_turned_as_colorsys_does(turn: float) -> None:
    turned = turn_hues(LEVELS[:1, :2], tf.constant([turn], tf.float32)).numpy()
    for place in np.ndindex(2, 12):
        hue, saturation, value = colorsys.rgb_to_hsv(*IMAGES[0][place].astype(float))
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(turned[0][place], expected, atol=0.02)


def test_a_turn_of_hues_keeps_the_value() -> None:
    turned = Colour(hue=0.5)(LEVELS, drawn(0, COUNT)).numpy()
    np.testing.assert_allclose(turned.max(axis=-1), IMAGES.max(axis=-1), rtol=1e-6)
    assert np.abs(turned - IMAGES).max() > 50


@pytest.mark.parametrize("name", ENHANCERS)
@settings(max_examples=15)
@given(factor=st.floats(0, 2))
def test_factors_are_pillows(name: str, factor: float) -> None:
    ones = tf.ones([COUNT])
    factors = dict.fromkeys(ENHANCERS, ones) | {name: factor * ones}
    matrices, offsets = colour_map(LEVELS, **factors)
    found = round_levels(map_channels(LEVELS, matrices, offsets)).numpy()
    expected = ENHANCERS[name](Image.fromarray(IMAGES[0])).enhance(factor)
    # Pillow rounds greys to whole levels before it mixes.
    difference = found[0].astype(int) - np.asarray(expected)
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    "change",
    [Colour(), Colour(hue=1e-9), Colour(brightness=1e-9), Noise(deviations=(0.0, 0.0, 0.0))],
    ids=str,
)
def test_without_strength_levels_stay(change) -> None:
    np.testing.assert_array_equal(round_levels(change(LEVELS, drawn(0, COUNT))), IMAGES)


def test_brightness_stays_within_its_bounds() -> None:
    levels = tf.fill([1000, 2, 2, 3], 100.0)
    bright = Colour(brightness=0.2)(levels, drawn(0, 1000)).numpy()[:, 0, 0, 0]
    assert 80 <= bright.min() < 80.5
    assert 119.5 < bright.max() <= 120
    assert abs(bright.mean() - 100) < 2


def test_grey_images_lose_their_colours_alone() -> None:
    levels = tf.tile(LEVELS[:1], [400, 1, 1, 1])
    found = Colour(grey=0.25)(levels, drawn(0, 400)).numpy()
    is_grey = np.ptp(found, axis=-1).max(axis=(1, 2)) < 1e-3
    assert stats.binomtest(int(is_grey.sum()), 400, 0.25).pvalue > 0.001
    luma = IMAGES[0] @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(found[is_grey][0, ..., 0], luma, atol=1e-3)
    np.testing.assert_allclose(found[~is_grey][0], IMAGES[0], atol=1e-3)


def test_channels_of_grey_data_are_one() -> None:
    grey = LEVELS[..., :1]
    found = Colour(contrast=0.5)(grey, drawn(0, COUNT)).numpy()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), grey.numpy().mean(axis=(1, 2)), rtol=1e-4)
    factors = found.std(axis=(1, 2)) / grey.numpy().std(axis=(1, 2))
    assert 0.5 < factors.min() < factors.max() < 1.5


def test_pca_shifts_are_multiples_of_eigenvectors_and_eigenvalues() -> None:
    pixels = RANDOM.normal(size=(5000, 3)) @ np.array([[0.2, 0.1, 0], [0, 0.05, 0.02], [0, 0, 0.0]])
    covariance = np.cov(pixels.T)
    axes = np.array(colour_axes(covariance))
    # Each axis is an eigenvector as long as its eigenvalue.
    lengths = np.linalg.norm(axes, axis=1)
    np.testing.assert_allclose(covariance @ axes.T, axes.T * lengths, atol=1e-12)
    levels = tf.zeros([2000, 2, 2, 3])
    colour = Colour(pca=0.1, axes=colour_axes(covariance))
    shifts = colour(levels, drawn(0, 2000)).numpy()
    np.testing.assert_array_equal(shifts[:, :1, :1], shifts[:, 1:, 1:])
    # The covariance has rank 2, and what is added lies in its span.
    spanned = np.linalg.svd(shifts[:, 0, 0])[1]
    assert spanned[2] < 1e-4 * spanned[1]
    factors = shifts[:, 0, 0] @ axes[1:].T / 255 / lengths[1:] ** 2
    np.testing.assert_allclose(factors.std(axis=0), 0.1, rtol=0.1)


def test_noise_has_its_deviation_in_every_channel() -> None:
    levels = tf.fill([200, 10, 10, 3], 128.0)
    noisy = Noise(deviations=(5.0, 10.0, 20.0))(levels, drawn(0, 200)).numpy()
    np.testing.assert_allclose(noisy.std(axis=(0, 1, 2)), [5, 10, 20], rtol=0.02)
    np.testing.assert_allclose(noisy.mean(axis=(0, 1, 2)), 128, atol=0.5)


@pytest.mark.parametrize(("copies", "changed"), [(0, False), (1, True)])
def test_of_images_and_noisy_copies_only_copies_are_noisy(copies: int, changed: bool) -> None:
    noise = Noise(deviations=MEAN, copies_only=True)
    noisy = noise(LEVELS, drawn(0, COUNT, copies=copies))
    assert bool(tf.reduce_any(noisy != LEVELS)) is changed


def test_blur_is_scipys() -> None:
    sigmas = tf.linspace(0.0, 2.0, COUNT)
    found = blur(LEVELS, sigmas, 8).numpy()
    np.testing.assert_allclose(found[0], IMAGES[0], atol=1e-3)
    for index in range(1, COUNT):
        expected = ndimage.gaussian_filter(
            IMAGES[index].astype(float),
            (sigmas[index], sigmas[index], 0),
            mode="mirror",
            radius=8,
        )
        np.testing.assert_allclose(found[index], expected, atol=0.01)
    assert np.abs(Blur(sigma=1.0)(LEVELS, drawn(0, COUNT)) - IMAGES).max() > 10


def test_erased_rectangles_have_area_and_ratio_of_the_paper() -> None:
    levels = tf.zeros([2000, 50, 50, 1]) - 1
    erased = Erasing(share=0.5, colour=(7.0,))(levels, drawn(0, 2000)).numpy()[..., 0] == 7
    areas = erased.mean(axis=(1, 2))
    assert stats.binomtest(int((areas > 0).sum()), 2000, 0.5).pvalue > 0.001
    assert 0.018 < areas[areas > 0].min() < 0.03
    assert 0.38 < areas.max() < 0.41
    heights = erased.any(axis=2).sum(axis=1)[areas > 0]
    widths = erased.any(axis=1).sum(axis=1)[areas > 0]
    np.testing.assert_allclose(heights * widths, areas[areas > 0] * 2500, rtol=1e-6)
    ratios = heights / widths
    # Sides are rounded to whole pixels.
    assert 0.25 < ratios.min() < 0.4
    assert 2.8 < ratios.max() < 3.8
    # Every pixel may be erased, those of corners seldom.
    assert erased.any(axis=0).all()


def test_cutout_is_a_square_around_any_pixel() -> None:
    levels = tf.zeros([2000, 32, 32, 1]) - 1
    cut = Cutout(side=0.5, colour=(7.0,))(levels, drawn(0, 2000)).numpy()[..., 0] == 7
    areas = cut.sum(axis=(1, 2))
    assert areas.max() == 16 * 16
    # At the corner a quarter is left.
    assert 8 * 8 <= areas.min() < 9 * 10
    assert cut.any(axis=0).all()


def test_levels_are_rounded_and_clipped() -> None:
    levels = tf.constant([-3.0, -0.4, 0.49, 0.51, 254.4, 254.6, 300.0])
    assert round_levels(levels).numpy().tolist() == [0, 0, 0, 1, 254, 255, 255]


@pytest.mark.parametrize("normalization", ["channel", "minmax"])
def test_noise_and_erasing_go_by_the_images_whatever_normalises_them(normalization: str) -> None:
    config = Config(
        data=Data(normalization=normalization),
        augment=Augment(noise=0.5, erase=1.0, cutout=0.5),
    )
    dataset = load(config)
    pixels = dataset.train.read().numpy().astype(np.float64)
    noise, erasing, cutout = augmentation_for(config, dataset).changes
    assert noise.deviations == pytest.approx([0.5 * pixels.std()])
    assert erasing.colour == pytest.approx([pixels.mean()])
    assert cutout.colour == pytest.approx([pixels.mean()])
