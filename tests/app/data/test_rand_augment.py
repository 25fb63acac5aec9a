"""RandAugment's and TrivialAugment's operations against Pillow, at the magnitudes of the papers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from epochal.app.config import Augment, Config
from epochal.app.data.augment.configured import augmentation_for
from epochal.app.data.augment.draws import Draws
from epochal.app.data.augment.rand_augment import OPERATIONS, WIDE, RandAugment, usual_ranges
from epochal.app.data.load import load

SIDE = 32
RANDOM = np.random.default_rng(0)
USUAL = usual_ranges(SIDE)


def make_images(channels: int = 3) -> np.ndarray:
    """Return images of few and of many levels, a dark one, a flat one and smooth ones."""
    shape = (SIDE, SIDE, channels)
    slope = np.add.outer(np.arange(SIDE) * 3, np.arange(SIDE) * 4)[..., None]
    waves = 127 + 90 * np.sin(slope / 20 + np.arange(channels))
    images = [
        RANDOM.integers(0, 256, shape),
        RANDOM.integers(40, 90, shape),
        RANDOM.choice([3, 9, 250], shape),
        np.full(shape, 77),
        np.clip(slope + np.arange(channels), 0, 255),
        waves,
    ]
    return np.stack(images).astype(np.uint8)


def numbers_for(operation: str, sign: int, count: int) -> tf.Tensor:
    """Return what images draw that get this operation with this sign."""
    place = (OPERATIONS.index(operation) + 0.5) / len(OPERATIONS)
    row = [place, 0.5, 0.25 if sign < 0 else 0.75, 0.5]
    return tf.constant([row] * count, tf.float32)


def to_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def shear_x(value: float) -> tuple[float, ...]:
    return (1, value, 0, 0, 1, 0)


def shear_y(value: float) -> tuple[float, ...]:
    return (1, 0, 0, value, 1, 0)


def translate_x(value: float) -> tuple[float, ...]:
    return (1, 0, value, 0, 1, 0)


def translate_y(value: float) -> tuple[float, ...]:
    return (1, 0, 0, 0, 1, value)


# The strength at the largest magnitude, as the papers' and torchvision's tables have it.
MOVES: dict[str, tuple[Callable[[float], tuple[float, ...]], float, float]] = {
    "shear_x": (shear_x, 0.3, 0.99),
    "shear_y": (shear_y, 0.3, 0.99),
    "translate_x": (translate_x, 150 / 331 * SIDE, 32),
    "translate_y": (translate_y, 150 / 331 * SIDE, 32),
    "rotate": (lambda degrees: degrees, 30, 135),
}


def moved(image: Image.Image, how: float | tuple[float, ...]) -> np.ndarray:
    if isinstance(how, tuple):
        return np.asarray(image.transform(image.size, Image.AFFINE, how, Image.BILINEAR))
    return np.asarray(image.rotate(how, Image.BILINEAR))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [9, 30])
@pytest.mark.parametrize("operation", MOVES)
def test_moves_are_pillows(operation: str, magnitude: int, sign: int) -> None:
    images = make_images()
    middle = np.zeros((SIDE, SIDE, 1), np.uint8)
    middle[2:-2, 2:-2] = 255
    make, usual, wide = MOVES[operation]
    for ranges, largest in ((USUAL, usual), (WIDE, wide)):
        changed = RandAugment(count=1, magnitude=magnitude, ranges=ranges).operate(
            tf.constant(images), numbers_for(operation, sign, len(images))
        )
        how = make(sign * magnitude / 30 * largest)
        # Next to the border Pillow repeats the last pixels.
        is_inner = moved(to_pillow(middle), how) == 255
        assert is_inner.any() or largest * magnitude >= 30 * SIDE - 64
        for image, result in zip(images, changed.numpy(), strict=True):
            expected = moved(to_pillow(image), how).astype(int)
            assert np.abs(result - expected)[is_inner].max(initial=0) <= 1


LEVELS: dict[str, Callable[[Image.Image, float, int], Image.Image]] = {
    "identity": lambda image, factor, bits: image,
    "brightness": lambda image, factor, bits: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor, bits: ImageEnhance.Contrast(image).enhance(factor),
    "colour": lambda image, factor, bits: ImageEnhance.Color(image).enhance(factor),
    "sharpness": lambda image, factor, bits: ImageEnhance.Sharpness(image).enhance(factor),
    "posterize": lambda image, factor, bits: ImageOps.posterize(image, bits),
    "autocontrast": lambda image, factor, bits: ImageOps.autocontrast(image),
    "equalize": lambda image, factor, bits: ImageOps.equalize(image),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("operation", [*LEVELS, "solarize"])
def test_levels_are_pillows(operation: str, channels: int) -> None:
    images = make_images(channels)
    for ranges, enhance, bits_lost in ((USUAL, 0.9, 4), (WIDE, 0.99, 6)):
        for magnitude in (0, 9, 30):
            for sign in (1, -1):
                changed = RandAugment(count=1, magnitude=magnitude, ranges=ranges).operate(
                    tf.constant(images), numbers_for(operation, sign, len(images))
                )
                factor = 1 + sign * enhance * magnitude / 30
                bits = 8 - round(magnitude / (30 / bits_lost))
                for image, result in zip(images, changed.numpy(), strict=True):
                    pillow = to_pillow(image)
                    if operation == "solarize":
                        expected = ImageOps.solarize(pillow, 255 - 255 * magnitude / 30)
                    else:
                        expected = LEVELS[operation](pillow, factor, bits)
                    difference = result.astype(int) - np.asarray(expected).reshape(result.shape)
                    assert np.abs(difference).max() <= 1


def draws_of(count: int, first: int = 0) -> Draws:
    return Draws(
        seed=1,
        epoch=tf.constant(2, tf.int64),
        first=tf.constant(first, tf.int64),
        end=tf.constant(first + count, tf.int64),
        images=tf.zeros([count], tf.int64),
        copies=tf.zeros([count], tf.int64),
    )


@pytest.mark.parametrize(
    "change",
    [
        RandAugment(count=2, magnitude=9, ranges=USUAL, border="black"),
        RandAugment(count=1, magnitude=None, ranges=WIDE),
    ],
    ids=["rand", "trivial"],
)
def test_an_image_changes_alike_in_any_batch_and_in_tf_data(change: RandAugment) -> None:
    count = 120
    images = np.repeat(make_images(), count // 6, axis=0).astype(np.float32)
    together = change(tf.constant(images), draws_of(count)).numpy()
    assert len({image.tobytes() for image in together}) > count / 2
    for first, end in ((0, 0), (17, 18), (40, 71)):
        part = change(tf.constant(images[first:end]), draws_of(end - first, first))
        np.testing.assert_array_equal(part, together[first:end])
    data = tf.data.Dataset.from_tensors(images).map(lambda x: change(x, draws_of(count)))
    (mapped,) = data
    np.testing.assert_array_equal(mapped, together)


def test_every_operation_and_every_magnitude_is_as_likely() -> None:
    count = 31 * 14 * 40
    levels = tf.fill([count, 8, 8, 1], 100.0)
    change = RandAugment(count=1, magnitude=None, ranges=WIDE)
    changed = change(levels, draws_of(count)).numpy()[:, 4, 4, 0]
    # A flat image is changed by brightness (to 1 to 199), posterize and solarize alone.
    factors = 1 + np.outer([1, -1], 0.99 * np.arange(31) / 30).ravel()
    brightened = np.clip(np.round(np.float32(100) * factors.astype(np.float32)), 0, 255)
    lost = np.round(6 * np.arange(31) / 30).astype(int)
    posterized = 100 >> lost << lost
    solarized = np.where(255 - 255 * np.arange(31) / 30 > 100, 100, 155)
    expected = np.zeros(256)
    for values, chance in (
        (brightened, 1 / 62),
        (posterized, 1 / 31),
        (solarized, 1 / 31),
        (np.array([100]), 11),
    ):
        np.add.at(expected, values.astype(int), chance / 14)
    assert expected.sum() == pytest.approx(1)
    counts = np.bincount(changed.astype(int), minlength=256)
    assert counts[expected == 0].sum() == 0
    seen = expected > 0
    squares = (counts - count * expected)[seen] ** 2 / (count * expected)[seen]
    degrees = seen.sum() - 1
    assert squares.sum() < degrees + 4 * math.sqrt(2 * degrees)


def test_settings_make_them() -> None:
    config = Config(augment=Augment(rand_augment=2, magnitude=12.0, border="black"))
    dataset = load(config)
    (change,) = augmentation_for(config, dataset).changes
    assert change == RandAugment(count=2, magnitude=12.0, ranges=usual_ranges(8), border="black")
    trivial = Config(augment=Augment(trivial_augment=True))
    (change,) = augmentation_for(trivial, dataset).changes
    assert change == RandAugment(count=1, magnitude=None, ranges=WIDE)
    with pytest.raises(ValueError, match=r"augment.rand_augment must be null with trivial_aug"):
        Augment(rand_augment=2, trivial_augment=True)
    with pytest.raises(ValueError, match=r"augment.magnitude must be from 0 to 30, got 31"):
        Augment(magnitude=31.0)
