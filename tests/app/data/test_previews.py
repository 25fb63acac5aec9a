"""Previews: the images of training itself, and words that tell what became of them."""

import re

import numpy as np
import pytest

from epochal.app.config import Augment, Config
from epochal.app.data.augment.joint import AnnotatedImage, rotate
from epochal.app.data.load import load
from epochal.app.data.pipeline import TrainingBatches
from epochal.app.data.previews import Preview, previews
from epochal.app.training.run.setup import training_batches

CLASSES = [f"class {number}" for number in range(10)]


def batches_of(batch_size: int = 64, **augment: object) -> TrainingBatches:
    config = Config(batch_size=batch_size, augment=Augment(**augment))
    batches, _ = training_batches(config, load(config))
    return batches


def shown_with(count: int = 40, **augment: object) -> list[Preview]:
    return previews(batches_of(**augment), CLASSES, count)


def number_in(words: tuple[str, ...], pattern: str) -> float | None:
    for word in words:
        match = re.fullmatch(pattern, word)
        if match:
            return float(match[1])
    return None


@pytest.mark.parametrize("count", [7, 25])
def test_they_are_the_first_images_of_training(count: int) -> None:
    batches = batches_of(10, rotate=20.0, noise=0.1, flip="random")
    shown = previews(batches, CLASSES, count)
    trained = batches.dataset().unbatch().take(count)
    assert len(shown) == count
    for preview, (image, label) in zip(shown, trained.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(preview.after, image)
        assert preview.label == CLASSES[label]


def test_no_more_than_there_are() -> None:
    batches = batches_of(600)
    assert len(previews(batches, CLASSES, 5000)) == len(batches.split)


def test_window_and_mirroring_are_as_told() -> None:
    seen = set()
    for preview in shown_with(pad_crop=2, flip="random"):
        padded = np.pad(preview.before, ((2, 2), (2, 2), (0, 0)), "reflect")
        down, right = 0, 0
        for word in preview.draws:
            match = re.fullmatch(r"window ([+-]\d) down, ([+-]\d) right", word)
            if match:
                down, right = int(match[1]), int(match[2])
        expected = padded[2 + down : 10 + down, 2 + right : 10 + right]
        if "mirrored" in preview.draws:
            expected = expected[:, ::-1]
        np.testing.assert_array_equal(preview.after, expected)
        seen |= {("mirrored" in preview.draws, down), right}
    assert len(seen) > 8


def test_factors_and_angles_are_as_told() -> None:
    for preview in shown_with(pad_crop=0, flip=False, brightness=0.4):
        factor = number_in(preview.draws, r"brightness x ([\d.]+)") or 1.0
        expected = np.clip(preview.before * factor, 0, 255)
        # Factors are told to two digits.
        np.testing.assert_allclose(preview.after, expected, atol=0.005 * 255 + 0.5)
    for preview in shown_with(pad_crop=0, flip=False, rotate=15.0, border="black"):
        degrees = number_in(preview.draws, r"turned ([+-][\d.]+)°") or 0.0
        turned = rotate(AnnotatedImage(image=preview.before), degrees).image
        inner = np.s_[2:6, 2:6]
        difference = preview.after[inner].astype(int) - turned[inner]
        assert np.abs(difference).max() <= 4


def test_erased_pixels_are_as_told() -> None:
    erased = 0
    for preview in shown_with(pad_crop=0, flip=False, erase=0.5):
        size = [0, 0]
        for word in preview.draws:
            match = re.fullmatch(r"(\d+) x (\d+) pixels erased", word)
            if match:
                size = [int(match[1]), int(match[2])]
        changed = np.argwhere(preview.after != preview.before)
        if len(changed):
            assert np.all(np.ptp(changed[:, :2], axis=0) < size[::-1])
            erased += 1
        elif size != [0, 0]:
            erased += 1
    assert 10 <= erased <= 30


def test_every_change_is_told() -> None:
    everything = {
        "flip_vertical": True,
        "resized_crop": 0.5,
        "translate": 0.1,
        "shear": 5.0,
        "zoom": 0.1,
        "elastic": 4.0,
        "elastic_sigma": 1.0,
        "contrast": 0.2,
        "blur": 0.5,
        "noise": 0.1,
        "cutout": 0.25,
        "noisy_copies": 1,
    }
    told = " ".join(" ".join(preview.draws) for preview in shown_with(60, **everything))
    for word in (
        *("upside down", "of 8 x 8", "moved", "leaning", "size x", "bent", "contrast"),
        *("blurred", "noise of", "erased", "copy 1"),
    ):
        assert word in told, word


def test_a_mixed_image_has_both_labels() -> None:
    batches = batches_of(20, mixup=1.0)
    shown = previews(batches, CLASSES, 15)
    labels = batches.batch(0, 0)["labels"][:15]
    for preview, (own, partner, share) in zip(shown, labels, strict=True):
        if own == partner:
            assert preview.label == f"class {own:.0f}"
            continue
        assert preview.label == (
            f"{share:.0%} class {own:.0f}, {1 - share:.0%} class {partner:.0f}"
        )


def test_operations_of_rand_augment_are_told() -> None:
    for preview in shown_with(pad_crop=0, flip=False, rand_augment=9):
        if not preview.draws:
            np.testing.assert_array_equal(preview.after, preview.before)
        for word in preview.draws:
            assert re.fullmatch(r"[a-z ]+ [+-]9", word), word
