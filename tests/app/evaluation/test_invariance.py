"""Invariance: transforms against their definitions, and a score that rises with training on one."""

from pathlib import Path

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.app.config import Augment, Config
from epochal.app.evaluation.invariance import (
    InvarianceFigures,
    format_invariance,
    measure_invariance,
    transforms,
)
from epochal.app.store.run import Run
from epochal.app.training.train import train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

IMAGES = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 3), st.just(16), st.just(16), st.sampled_from([1, 3])),
)


@given(IMAGES)
@settings(max_examples=15)
def test_every_transform_keeps_shape_and_levels(images: np.ndarray) -> None:
    for variants in transforms().values():
        for change in variants:
            changed = change(images)
            assert changed.shape == images.shape
            assert changed.dtype == np.uint8
            np.testing.assert_array_equal(change(images), changed)


@given(IMAGES)
@settings(max_examples=15)
def test_flip_and_shifts_are_what_they_are_called(images: np.ndarray) -> None:
    (flip,) = transforms()["flip"]
    np.testing.assert_array_equal(flip(images), np.flip(images, 2))
    up, down, left, right = transforms()["shift"]
    np.testing.assert_array_equal(up(images)[:, :-1], images[:, 1:])
    np.testing.assert_array_equal(down(images)[:, 1:], images[:, :-1])
    np.testing.assert_array_equal(left(images)[:, :, :-1], images[:, :, 1:])
    np.testing.assert_array_equal(right(images)[:, :, 1:], images[:, :, :-1])


@given(st.integers(0, 255))
@settings(max_examples=15)
def test_an_even_image_looks_the_same_turned_and_stretched(level: int) -> None:
    images = np.full((1, 16, 16, 1), level, np.uint8)
    for name in ("rotation", "contrast", "shift", "flip"):
        for change in transforms()[name]:
            np.testing.assert_array_equal(change(images), images)
    darker, brighter = transforms()["brightness"]
    assert darker(images).max() == np.rint(level * np.float32(0.8))
    assert brighter(images).max() == min(255, np.rint(level * np.float32(1.25)))


def test_a_rotation_by_five_degrees_moves_a_point_by_its_angle() -> None:
    images = np.zeros((1, 101, 101, 1), np.uint8)
    images[0, 50, 89:92] = 255
    images[0, 49, 89:92] = 255
    images[0, 51, 89:92] = 255
    angles = []
    for change in transforms()["rotation"]:
        levels = change(images)[0, :, :, 0].astype(float)
        rows, columns = np.indices(levels.shape) - 50
        row = (rows * levels).sum() / levels.sum()
        column = (columns * levels).sum() / levels.sum()
        angles.append(np.degrees(np.arctan2(row, column)))
    np.testing.assert_allclose(np.sort(angles), [-5, 5], atol=0.2)


def measured(folder: Path, pad: int) -> InvarianceFigures:
    run = Run(folder)
    config = Config(model="mlp", epochs=8, batch_size=64, augment=Augment(pad_crop=pad))
    train_at(run, config, test=False)
    figures = measure_invariance(run)
    validation = run.result().validation
    assert validation is not None
    assert (figures.images, figures.accuracy) == (validation.count, validation.accuracy)
    return figures


@pytest.mark.slow
def test_training_on_shifts_raises_the_agreement_under_shifts(tmp_path: Path) -> None:
    without = measured(tmp_path / "without", 0).transforms["shift"]
    trained = measured(tmp_path / "with", 1)
    assert trained.transforms["shift"].agreement > without.agreement + 0.05
    assert trained.transforms["shift"].accuracy > without.accuracy + 0.05
    assert set(trained.to_dict()) >= {"validation_accuracy", "flip_agreement", "noise_accuracy"}
    assert len(format_invariance(trained).splitlines()) == len(transforms()) + 3
