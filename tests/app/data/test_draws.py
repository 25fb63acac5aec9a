"""Random numbers of augmentation: functions of (seed, epoch, position) and of nothing else."""

from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from epochal.app.data.augment.draws import Draws, draws
from tests.support.drawn import drawn

COUNT = 40
KINDS = {
    "words": lambda some: some.words(3),
    "uniform": lambda some: some.uniform(4),
    "uniform of pixels": lambda some: some.uniform(4, 49),
    "normal of pixels": lambda some: some.normal(4, 27),
    "coins": Draws.mirrored_at_first,
}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(cuts=st.sets(st.integers(0, COUNT), max_size=5))
def test_any_partition_of_positions_draws_the_same(kind: str, cuts: set[int]) -> None:
    draw = KINDS[kind]
    bounds = [0, *sorted(cuts), COUNT]
    parts = []
    for first, end in pairwise(bounds):
        parts.append(draw(drawn(first, end)).numpy())
    np.testing.assert_array_equal(np.concatenate(parts), draw(drawn(0, COUNT)).numpy())


def test_stream_zero_has_the_numbers_of_earlier_versions() -> None:
    words = draws(5, tf.constant(3), (tf.constant(0), tf.constant(2))).numpy()
    expected = [
        [1771912684, 1260739011, 3267888653, 1987497936],
        [441842407, 3641703876, 1580834863, 1170121239],
    ]
    np.testing.assert_array_equal(words, expected)


def test_no_number_comes_twice() -> None:
    words = [drawn(0, 100, epoch=epoch).words(stream) for epoch in range(3) for stream in range(5)]
    numbers = np.concatenate(words).ravel()
    # Of 6,000 words of 32 bits, 0.004 pairs are equal by chance.
    assert len(np.unique(numbers)) == len(numbers)


def test_distributions() -> None:
    uniform = drawn(0, 500).uniform(1, 10).numpy().ravel()
    normal = drawn(0, 500).normal(1, 10).numpy().ravel()
    assert stats.kstest(uniform, "uniform").pvalue > 0.001
    assert stats.kstest(normal, "norm").pvalue > 0.001
    coins = drawn(0, 1000).mirrored_at_first().numpy()
    assert stats.binomtest(int(coins.sum()), 1000).pvalue > 0.001


def test_the_first_coin_follows_the_image() -> None:
    coins = drawn(0, 30, images=10).mirrored_at_first().numpy()
    np.testing.assert_array_equal(coins[:10], coins[10:20])
    later = drawn(10, 20, epoch=7, images=10).mirrored_at_first().numpy()
    np.testing.assert_array_equal(coins[:10], later)
