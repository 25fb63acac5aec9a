"""Warps against SciPy and NumPy, eagerly and in tf.data."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from epochal.app.data.augment.elastic import Elastic
from epochal.app.data.augment.tiles import corner_and_centre_tiles
from epochal.app.data.augment.warp import (
    ResizedCrop,
    Warp,
    Window,
    inverse_affine,
    places,
    sample,
    warp,
)
from epochal.app.data.augment.windows import cut_windows
from tests.support.drawn import drawn

MODES = {"reflect": "reflect", "black": "grid-constant"}
COUNT = 6
SIDE = 9
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


def interpolated(
    images: np.ndarray, rows: np.ndarray, columns: np.ndarray, border: str
) -> np.ndarray:
    """Return what SciPy finds at these places."""
    found = np.empty((*rows.shape, images.shape[-1]))
    for index, image in enumerate(images):
        for channel in range(images.shape[-1]):
            found[index, ..., channel] = ndimage.map_coordinates(
                image[..., channel].astype(float),
                [rows[index], columns[index]],
                order=1,
                mode=MODES[border],
            )
    return found


def affine(angle: float, shear: float, scale: float) -> np.ndarray:
    """Return the matrices of the same inverse map for all images."""
    values = {"angle": angle, "shear": shear, "scale": scale}
    constants = {name: tf.fill([COUNT], float(value)) for name, value in values.items()}
    return inverse_affine(**constants)


def window(
    *, corner: int = 0, mirrored: bool = False, upended: bool = False, count: int = COUNT
) -> Window:
    """Return the same window of every image."""
    return Window(
        corners=tf.fill([count, 2], corner),
        mirrored=tf.fill([count], mirrored),
        upended=tf.fill([count], upended),
    )


@pytest.mark.parametrize("border", MODES)
def test_sampling_equals_scipys(border: str) -> None:
    rows = RANDOM.uniform(-12, 20, (COUNT, 5, 4)).astype(np.float32)
    columns = RANDOM.uniform(-12, 20, (COUNT, 5, 4)).astype(np.float32)
    expected = interpolated(IMAGES, rows, columns, border)
    found = sample(IMAGES, rows, columns, border=border)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("border", MODES)
def test_an_affine_warp_equals_scipys_and_the_general_one(border: str) -> None:
    matrices = inverse_affine(
        angle=tf.linspace(-0.4, 0.4, COUNT),
        shear=tf.linspace(0.2, -0.1, COUNT),
        scale=tf.linspace(0.7, 1.4, COUNT),
    )
    offsets = tf.constant(RANDOM.uniform(-2, 3, (COUNT, 2)), tf.float32)
    rows, columns = places(matrices, offsets, 7)
    expected = interpolated(IMAGES, rows.numpy(), columns.numpy(), border)
    found = warp(IMAGES, matrices, offsets, size=7, border=border)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    general = sample(IMAGES, rows, columns, border=border)
    np.testing.assert_allclose(found, general, atol=1e-3)


@settings(max_examples=15)
@given(st.floats(-1, 1), st.floats(-0.5, 0.5), st.floats(0.3, 3))
def test_the_map_undoes_scale_shear_and_rotation(angle: float, shear: float, scale: float) -> None:
    # In (x, y) with y up: anticlockwise is positive.
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    leaning = np.array([[1, -math.tan(shear)], [0, 1]])
    forward = turned @ leaning * scale
    to_rows = np.array([[0, -1], [1, 0]])  # row = -y, column = x
    expected = np.linalg.inv(to_rows @ forward @ np.linalg.inv(to_rows))
    np.testing.assert_allclose(affine(angle, shear, scale)[0], expected, atol=1e-5)


def test_a_quarter_turn_is_numpys() -> None:
    matrices = affine(math.pi / 2, 0, 1)
    centre = (SIDE - 1) / 2
    offsets = centre - tf.linalg.matvec(matrices, tf.fill([COUNT, 2], centre))
    turned = warp(IMAGES, matrices, offsets, size=SIDE, border="black")
    np.testing.assert_allclose(turned, np.rot90(IMAGES, axes=(1, 2)), atol=0.02)


@settings(max_examples=15)
@given(st.integers(-12, 12), st.integers(-12, 12))
def test_a_shift_by_whole_pixels_is_exact(down: int, right: int) -> None:
    offsets = tf.fill([COUNT, 2], 0.0) - tf.constant([down, right], tf.float32)
    shifted = warp(IMAGES, affine(0, 0, 1), offsets, size=SIDE, border="reflect")
    pad = [(0, 0), (12, 12), (12, 12), (0, 0)]
    padded = np.pad(IMAGES, pad, "symmetric")
    top = 12 - down
    left = 12 - right
    expected = padded[:, top : top + SIDE, left : left + SIDE]
    np.testing.assert_array_equal(shifted, expected)


@pytest.mark.parametrize("elastic", [None, Elastic(alpha=0.0, sigma=1.0)])
@settings(max_examples=15)
@given(corner=st.integers(-3, 4), mirrored=st.booleans(), upended=st.booleans())
def test_without_strength_a_warp_is_the_window(
    elastic: Elastic | None, corner: int, mirrored: bool, upended: bool
) -> None:
    part = window(corner=corner, mirrored=mirrored, upended=upended)
    still = Warp(image_size=8, border="black", elastic=elastic)
    expected = cut_windows(
        IMAGES,
        part.corners,
        part.mirrored,
        size=8,
        border="black",
        upended=part.upended,
    )
    np.testing.assert_array_equal(still(IMAGES, part, drawn(0, COUNT)), expected)


def test_rotations_stay_within_their_bound() -> None:
    # The image tells its columns; those of the middle row and the row above differ by the tangent.
    count = 300
    columns = np.broadcast_to(np.arange(29.0), (count, 29, 29))[..., None]
    turned = Warp(image_size=29, rotate=5)(columns, window(count=count), drawn(0, count)).numpy()
    sines = turned[:, 15, 14, 0] - turned[:, 14, 14, 0]
    angles = np.degrees(np.arcsin(sines))
    assert 4.8 < np.abs(angles).max() < 5.001
    assert abs(angles.mean()) < 0.7
    # Half a side away, 5 degrees move a pixel by 1.2.
    rows = np.swapaxes(columns, 1, 2)
    moved = Warp(image_size=29, rotate=5)(rows, window(count=count), drawn(0, count)).numpy() - rows
    assert 1.1 < np.abs(moved[:, 14, 0, 0]).max() < 1.23


def test_shifts_and_scales_stay_within_their_bounds() -> None:
    count = 300
    columns = np.broadcast_to(np.arange(101.0), (count, 101, 101))[..., None]
    part = window(count=count)
    shifted = Warp(image_size=101, translate=0.1)(columns, part, drawn(0, count)).numpy()
    shifts = 50 - shifted[:, 50, 50, 0]
    assert 9.5 < np.abs(shifts).max() < 10.11
    scaled = Warp(image_size=101, zoom=1.0)(columns, part, drawn(0, count)).numpy()
    scales = 1 / (scaled[:, 50, 51, 0] - scaled[:, 50, 50, 0])
    assert 0.499 < scales.min() < 0.52
    assert 1.9 < scales.max() < 2.001
    assert 0.4 < (scales > 1).mean() < 0.6


def test_resized_crops_have_the_area_and_the_ratio_that_were_asked_for() -> None:
    crop = ResizedCrop(least_area=0.2, ratio=1.5)
    corners, sizes = map(np.asarray, crop.windows(100, drawn(0, 2000)))
    assert corners.min() == 0
    assert (corners + sizes).max() == 100
    areas = sizes.prod(axis=1) / 100**2
    assert 0.195 < areas.min() < 0.22
    assert 0.9 < areas.max() <= 1
    ratios = sizes[:, 0] / sizes[:, 1]
    assert 1.4 < ratios.max() < 1.53
    assert 1.4 < 1 / ratios.min() < 1.53
    np.testing.assert_array_equal(corners, np.floor(corners))


def test_a_crop_that_cannot_be_had_is_the_whole_image() -> None:
    # No rectangle of all the area but the square itself fits, and it is hardly ever drawn.
    corners, sizes = ResizedCrop(least_area=1.0, ratio=4.0).windows(100, drawn(0, 50))
    square = np.all(sizes == 100, axis=1)
    assert square.mean() > 0.8
    np.testing.assert_array_equal(corners[square], 0)


def test_a_resized_crop_is_scaled_as_scipy_does() -> None:
    cropped = Warp(image_size=6, resized_crop=ResizedCrop(least_area=0.3))
    found = cropped(IMAGES, window(mirrored=True), drawn(0, COUNT))
    corners, sizes = map(np.asarray, cropped.resized_crop.windows(SIDE, drawn(0, COUNT)))
    middles = (np.arange(6) + 0.5) / 6
    rows = corners[:, :1] + middles * sizes[:, :1] - 0.5
    columns = corners[:, 1:] + middles[::-1] * sizes[:, 1:] - 0.5
    rows, columns = np.broadcast_arrays(rows[:, :, None], columns[:, None, :])
    np.testing.assert_allclose(found, interpolated(IMAGES, rows, columns, "reflect"), atol=1e-3)


def test_elastic_displacements_are_simards() -> None:
    elastic = Elastic(alpha=34.0, sigma=4.0)
    down, right = elastic.field(28, drawn(0, 50))
    noise = 2 * drawn(0, 50).uniform(4, 2 * 28 * 28).numpy().reshape(50, 2, 28, 28) - 1
    for index in range(5):
        for axis, field in enumerate((down, right)):
            expected = 34 * ndimage.gaussian_filter(noise[index, axis], 4.0, mode="mirror")
            np.testing.assert_allclose(field[index], expected, atol=1e-4)
    # Of independent numbers of deviation 1 / sqrt(3), smoothing leaves 1 / (2 sigma sqrt(pi)).
    inner = np.stack([down, right])[:, :, 10:18, 10:18]
    assert np.std(inner) == pytest.approx(34 / math.sqrt(3) / (8 * math.sqrt(math.pi)), rel=0.1)


def test_elastic_displacements_are_smooth() -> None:
    # A smoothed field differs between neighbours at most by the sum of the kernel's differences,
    # twice its height.
    down, _ = Elastic(alpha=34.0, sigma=4.0).field(28, drawn(0, 100))
    steps = np.abs(np.diff(down.numpy(), axis=1))
    assert steps.max() < 34 * 2 / (4 * math.sqrt(2 * math.pi))
    assert steps.max() < np.abs(down).max() / 2


def test_tiles_are_corners_and_centre() -> None:
    tiles = corner_and_centre_tiles(tf.constant(IMAGES), 4).numpy()
    last = SIDE - 4
    places = [(0, 0), (0, last), (last, 0), (last, last), (last // 2, last // 2)]
    for index, (top, left) in enumerate(places):
        np.testing.assert_array_equal(tiles[:, index], IMAGES[:, top : top + 4, left : left + 4])
    with pytest.raises(ValueError, match="tiles of 10 pixels out of images of 9 x 9"):
        corner_and_centre_tiles(tf.constant(IMAGES), 10)
