"""MixUp and CutMix against NumPy and SciPy, and batches of mixed images as tf.data makes them."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from epochal.app.config import Augment
from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.augment.draws import draws
from epochal.app.data.augment.mixing import (
    MIXING,
    Mixing,
    beta_variables,
    blend,
    mixed_labels,
    paste,
    taken_apart,
)
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import Position, TrainingBatches

RANDOM = np.random.default_rng(0)
COUNT = 10


def draw(count: int, seed: int = 0, epoch: int = 0, first: int = 0) -> tf.Tensor:
    positions = (tf.constant(first), tf.constant(first + count))
    return draws(seed, tf.constant(epoch), positions, stream=MIXING)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 5.0, 100.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    evenly = ((np.arange(20_000) + 0.5) / 20_000 * 2**32).astype(np.uint32)
    shares = beta_variables(alpha, tf.constant(evenly)).numpy().astype(float)
    assert 0 <= shares.min() <= shares.max() <= 1
    assert (np.diff(shares) >= 0).all()
    # Rounding to float32 heaps up at 0 and 1 where alpha is small: compared in between.
    points = np.linspace(0.001, 0.999, 999)
    measured = np.searchsorted(shares, points) / len(shares)
    expected = stats.beta(alpha, alpha).cdf(points)
    assert np.abs(measured - expected).max() < 3e-4
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)


def test_blended_pixels_are_numpys() -> None:
    images, partners = RANDOM.integers(0, 256, (2, 6, 5, 5, 3), dtype=np.uint8)
    shares = np.array([0, 0.25, 0.5, 0.75, 0.9, 1], np.float32)
    blended = blend(images, partners, tf.constant(shares)).numpy()
    factors = shares[:, None, None, None].astype(float)
    expected = factors * images + (1 - factors) * partners
    assert np.abs(blended - expected).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(blended[0], partners[0])
    np.testing.assert_array_equal(blended[-1], images[-1])


def box_of_the_authors(side: int, share: float, x: int, y: int) -> tuple[int, int, int, int]:
    """`rand_bbox` of github.com/clovaai/CutMix-PyTorch, from its draws."""
    cut = int(side * np.sqrt(1.0 - share))
    left, top = np.clip(x - cut // 2, 0, side), np.clip(y - cut // 2, 0, side)
    right, bottom = np.clip(x + cut // 2, 0, side), np.clip(y + cut // 2, 0, side)
    return left, top, right, bottom


@settings(max_examples=40)
@given(
    side=st.integers(1, 12),
    share=st.floats(0, 1, width=32),
    place=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
)
def test_a_pasted_box_is_that_of_the_authors(side: int, share: float, place) -> None:
    images = np.zeros((1, side, side, 2), np.uint8)
    partners = np.ones_like(images)
    random = tf.constant([place], tf.uint32)
    pasted, left_over = paste(images, partners, tf.constant([share], tf.float32), random)
    y, x = place[0] % side, place[1] % side
    left, top, right, bottom = box_of_the_authors(side, np.float32(share), x, y)
    expected = images[0].copy()
    expected[top:bottom, left:right] = 1
    np.testing.assert_array_equal(pasted[0], expected)
    assert float(left_over[0]) == pytest.approx(1 - expected[..., 0].mean(), abs=1e-6)


def test_with_both_a_coin_decides_for_each_image() -> None:
    images = np.zeros((400, 8, 8, 1), np.uint8)
    partners = np.full_like(images, 200)
    random = draw(400)
    mixed, shares = Mixing(mixup=1.0, cutmix=1.0)(images, partners, random)
    blended, blended_shares = Mixing(mixup=1.0)(images, partners, random)
    pasted, pasted_shares = Mixing(cutmix=1.0)(images, partners, random)
    coin = random[:, 3].numpy() < 2**31
    assert 150 < coin.sum() < 250
    expected = np.where(coin[:, None, None, None], blended, pasted)
    np.testing.assert_array_equal(mixed, expected)
    np.testing.assert_array_equal(shares, np.where(coin, blended_shares, pasted_shares))


def test_rows_of_labels_hold_what_they_are_made_of() -> None:
    labels = np.array([0, 21_840, 7], np.int32)
    partners = labels[::-1]
    shares = np.array([0.25, 1.0, 0.1], np.float32)
    rows = mixed_labels(labels, partners, shares)
    assert rows.shape == (3, 3)
    for part, expected in zip(taken_apart(rows), (labels, partners, shares), strict=True):
        np.testing.assert_array_equal(part, expected)


def make_batches(mixing: Mixing | None, batch_size: int = 4) -> TrainingBatches:
    """Return batches of ten images, each of one brightness, with labels of their own."""
    pixels = 20 * np.arange(COUNT, dtype=np.uint8)
    stored = np.broadcast_to(pixels[:, None, None, None], (COUNT, 6, 6, 1))
    stored = stored + np.arange(6, dtype=np.uint8)[None, None, :, None]
    split = Split(CachedImages(tf.constant(stored)), np.arange(COUNT), np.arange(COUNT))
    return TrainingBatches(
        split=split,
        batch_size=batch_size,
        augmentation=Augmentation(stored_size=6, image_size=6, pad=2, flip=True),
        seed=3,
        position=Position(),
        mixing=mixing,
    )


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_an_image_is_mixed_with_the_one_before_it(batch_size: int) -> None:
    mixing = Mixing(mixup=0.5, cutmix=1.0)
    plain = make_batches(None, batch_size)
    batches = make_batches(mixing, batch_size)
    for step in {0, batches.steps - 1}:
        expected = plain.batch(1, step)
        first, end = (int(bound) for bound in batches.bounds(tf.constant(step, tf.int64)))
        images, labels = expected["images"], expected["labels"]
        partners, partner_labels = np.roll(images, 1, axis=0), np.roll(labels, 1)
        random = draw(end - first, seed=3, epoch=1, first=first)
        mixed, shares = mixing(images, partners, random)
        batch = batches.batch(1, step)
        np.testing.assert_array_equal(batch["images"], mixed)
        np.testing.assert_array_equal(
            batch["labels"], np.stack([labels, partner_labels, shares], axis=1).astype(np.float32)
        )
        np.testing.assert_array_equal(batch["indices"], expected["indices"])


def test_a_resumed_epoch_has_the_mixtures_of_one_that_was_not() -> None:
    batches = make_batches(Mixing(mixup=0.3))
    batches.position.set(2)
    whole = list(batches.dataset())
    batches.position.set(2, start=1)
    resumed = list(batches.dataset())[:-1]
    for expected, got in zip(whole[1:], resumed, strict=True):
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])


def test_epochs_and_seeds_mix_differently() -> None:
    batches = make_batches(Mixing(mixup=1.0), batch_size=COUNT)
    shares = [
        which.batch(epoch, 0)["labels"][:, 2].tolist()
        for which, epoch in ((batches, 0), (batches, 1), (replace(batches, seed=4), 0))
    ]
    assert len({tuple(row) for row in shares}) == 3


def test_mixing_is_off_unless_asked_for() -> None:
    assert Mixing.from_config(Augment()) is None
    assert Mixing.from_config(Augment(cutmix=1.0)) == Mixing(cutmix=1.0)
    for key, value in (("mixup", 0), ("cutmix", -1.0), ("mixup", float("nan"))):
        with pytest.raises(ValueError, match=f"augment.{key} must be from 0.01 to 100"):
            Augment(**{key: value})
