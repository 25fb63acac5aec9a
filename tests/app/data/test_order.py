"""Orders of images: each comes once, classes interleaved, draws fair, and batches follow."""

import cProfile
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.datasets import load_digits

from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.order import Table, balanced, interleaved, ordered
from epochal.app.data.pipeline import Position, TrainingBatches

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)
SEEDS = st.integers(0, 2**31 - 1)


def equal_neighbours(labels: np.ndarray) -> int:
    return int((labels[1:] == labels[:-1]).sum())


@given(
    labels=LABELS,
    seed=SEEDS,
    epoch=st.integers(0, 100_000),
    order=st.sampled_from(["once", "interleaved"]),
)
def test_every_image_exactly_once(labels: np.ndarray, seed: int, epoch: int, order: str) -> None:
    assert sorted(ordered(order, labels, seed, epoch)) == list(range(len(labels)))


@pytest.mark.parametrize(
    ("order", "same"),
    [
        ("shuffled", False),
        ("once", True),
        ("replacement", False),
        ("interleaved", False),
        ("balanced", False),
    ],
)
def test_epochs_differ_unless_permuted_once_and_seeds_always_do(order: str, same: bool) -> None:
    labels = np.arange(300) % 3
    first, again, second = (ordered(order, labels, 7, epoch) for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert np.array_equal(first, second) is same
    assert not np.array_equal(first, ordered(order, labels, 8, 0))


@given(labels=LABELS, seed=SEEDS, epoch=st.integers(0, 1000))
def test_balanced_classes_come_equally_often(labels: np.ndarray, seed: int, epoch: int) -> None:
    images = balanced(labels, seed, epoch)
    assert len(images) == len(labels)
    counts = np.unique(labels[images], return_counts=True)[1]
    present = np.unique(labels)
    # Where there are fewer images than classes some classes have their turn in a later epoch.
    assert counts.max() - (counts.min() if len(counts) == len(present) else 0) <= 1


@given(labels=LABELS, seed=SEEDS, begun=st.integers(0, 50))
def test_balanced_classes_have_as_many_draws_over_epochs_as_there_are_classes(
    labels: np.ndarray, seed: int, begun: int
) -> None:
    present = np.unique(labels)
    epochs = [balanced(labels, seed, begun + epoch) for epoch in range(len(present))]
    drawn = labels[np.concatenate(epochs)]
    assert set(np.bincount(drawn)[present]) == {len(labels)}


@given(labels=LABELS, seed=SEEDS, epochs=st.integers(1, 12))
def test_balanced_images_of_a_class_come_equally_often_up_to_any_epoch(
    labels: np.ndarray, seed: int, epochs: int
) -> None:
    drawn = np.concatenate([balanced(labels, seed, epoch) for epoch in range(epochs)])
    counts = np.bincount(drawn, minlength=len(labels))
    for label in np.unique(labels):
        of_class = counts[labels == label]
        assert of_class.max() - of_class.min() <= 1


@given(classes=st.integers(1, 6), images=st.integers(1, 12), seed=SEEDS, epoch=st.integers(0, 99))
def test_classes_of_equal_size_are_balanced_by_every_image_once(
    classes: int, images: int, seed: int, epoch: int
) -> None:
    labels = np.tile(np.arange(classes), images)
    assert sorted(balanced(labels, seed, epoch)) == list(range(len(labels)))


@given(labels=LABELS, seed=SEEDS)
def test_interleaved_has_the_fewest_equal_neighbours_there_can_be(
    labels: np.ndarray, seed: int
) -> None:
    # n images of one class need n - 1 others between them.
    largest = np.bincount(labels).max()
    got = equal_neighbours(labels[interleaved(labels, np.random.default_rng(seed))])
    assert got == max(0, 2 * largest - len(labels) - 1)


@given(classes=st.integers(2, 12), images=st.integers(1, 30), seed=SEEDS)
def test_balanced_classes_alternate(classes: int, images: int, seed: int) -> None:
    labels = np.repeat(np.arange(classes), images)
    rounds = labels[interleaved(labels, np.random.default_rng(seed))].reshape(images, classes)
    assert all(sorted(each) == list(range(classes)) for each in rounds)
    assert all(before[-1] != after[0] for before, after in pairwise(rounds))


@pytest.mark.parametrize(
    "counts", [(100, 50, 50, 20), (400, 30, 10, 3), (1000, 999, 500, 31, 31, 30)]
)
def test_imbalanced_classes_are_spread_evenly(counts: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    order = labels[interleaved(labels, np.random.default_rng(3))]
    for label, count in enumerate(counts):
        share = np.arange(1, len(labels) + 1) * count / len(labels)
        # A plain shuffle strays by about the root of the count: 15 for the larger classes here.
        assert np.abs(np.cumsum(order == label) - share).max() < 5


def test_interleaved_images_of_a_class_come_in_random_order() -> None:
    labels = np.repeat([0, 1], 2000)
    order = interleaved(labels, np.random.default_rng(0))
    for label in (0, 1):
        ranks = np.corrcoef(order[labels[order] == label], np.arange(2000))[0, 1]
        assert abs(ranks) < 0.1  # 4.5 standard deviations


def test_replacement_draws_every_image_alike() -> None:
    count = 50
    epochs = 200
    drawn = np.concatenate(
        [ordered("replacement", np.zeros(count, int), 5, epoch) for epoch in range(epochs)]
    )
    draws = np.bincount(drawn, minlength=count)
    assert 0.01 < chisquare(draws).pvalue < 0.99
    # Each epoch leaves out (1 - 1/n)^n of the images, 0.364 of them, on average.
    missing = [count - len(set(epoch)) for epoch in drawn.reshape(epochs, count)]
    assert np.mean(missing) / count == pytest.approx((1 - 1 / count) ** count, abs=0.015)


def test_a_million_images_of_a_thousand_classes_are_interleaved() -> None:
    labels = np.random.default_rng(0).integers(1000, size=1_281_167)
    order = interleaved(labels, np.random.default_rng(0))
    assert np.array_equal(np.sort(order), np.arange(len(labels)))
    assert equal_neighbours(labels[order]) == 0


def count_calls_to_interleave(count: int) -> int:
    """Return how many functions are called to order so many images of 1,000 classes."""
    labels = np.random.default_rng(0).integers(1000, size=count)
    profile = cProfile.Profile()
    profile.runcall(interleaved, labels, np.random.default_rng(0))
    return sum(entry.callcount for entry in profile.getstats())


def test_a_million_images_are_ordered_as_arrays() -> None:
    few = count_calls_to_interleave(10_000)
    assert 0 < count_calls_to_interleave(1_281_167) <= 2 * few


@pytest.mark.parametrize("order", ["once", "replacement", "interleaved", "balanced"])
@pytest.mark.parametrize("start", [0, 2])
def test_batches_follow_the_order_of_their_epoch(order: str, start: int) -> None:
    labels = (np.arange(10) % 3).astype(np.int32)
    pixels = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None], (10, 2, 2, 1))
    table = Table(arrange=lambda epoch: (ordered(order, labels, 1, epoch), None))
    batches = TrainingBatches(
        split=Split(CachedImages(tf.constant(pixels)), np.arange(10), labels),
        batch_size=4,
        augmentation=Augmentation(stored_size=2, image_size=2),
        seed=1,
        position=Position(table),
    )
    data = batches.dataset()
    for epoch in (0, 3):
        batches.position.set(epoch, start)
        seen = list(data.take(batches.steps - start))
        first, _ = batches.bounds(start)
        expected = ordered(order, labels, 1, epoch)[first:]
        assert np.array_equal(np.concatenate([images[:, 0, 0, 0] for images, _ in seen]), expected)
        assert np.array_equal(np.concatenate([given for _, given in seen]), labels[expected])


def test_classes_one_after_the_other_train_worse_than_interleaved() -> None:
    """LeCun et al. 1998, Efficient BackProp, with a perceptron that sees the digits once."""
    images, labels = load_digits(return_X_y=True)
    orders = {
        "sorted": np.argsort(labels, kind="stable"),
        "interleaved": ordered("interleaved", labels, 0, 0),
    }
    accuracy = {}
    for name, order in orders.items():
        keras.utils.set_random_seed(0)
        layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
        model.fit(images[order] / 16, labels[order], batch_size=16, shuffle=False, verbose=0)
        accuracy[name] = model.evaluate(images / 16, labels, verbose=0)[1]
    assert accuracy["interleaved"] > 0.75
    assert accuracy["sorted"] < accuracy["interleaved"] - 0.2
