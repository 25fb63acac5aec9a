"""Batches of training and evaluation as tf.data sees them, and the splits they come from."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches, share
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.splits import carve_missing_splits


@pytest.fixture
def split() -> Split:
    """Ten images."""
    images = CachedImages(tf.zeros((10, 4, 4, 1), tf.uint8))
    return Split(images=images, indices=np.arange(10), labels=np.zeros(10, np.int32))


def batches_of(split: Split, batch_size: int, *, equal: bool = True) -> TrainingBatches:
    """Return batches of images of four pixels a side that are not augmented."""
    return TrainingBatches(
        split=split,
        batch_size=batch_size,
        augmentation=Augmentation(stored_size=4, image_size=4),
        seed=0,
        position=Position(),
        equal=equal,
    )


@given(count=st.integers(1, 2_000_000), batch_size=st.integers(1, 5_000))
def test_batches_of_an_epoch_differ_by_one_image_at_most(count: int, batch_size: int) -> None:
    images = Split(None, np.broadcast_to(0, count), np.broadcast_to(0, count))
    batches = batches_of(images, batch_size)
    firsts, ends = batches.bounds(np.arange(batches.steps))
    assert batches.steps == math.ceil(count / batch_size)
    assert firsts[0] == 0
    assert np.array_equal(firsts[1:], ends[:-1])
    assert ends[-1] == count
    sizes = ends - firsts
    assert sizes.max() - sizes.min() <= 1
    assert sizes.max() == batches.largest <= batch_size
    assert sizes.min() == batches.smallest


@given(
    count=st.integers(1, 500),
    batch_size=st.integers(1, 200),
    replicas=st.integers(1, 4),
    equal=st.booleans(),
)
def test_replicas_share_every_image_of_an_epoch_once(
    count: int, batch_size: int, replicas: int, equal: bool
) -> None:
    images = Split(None, np.broadcast_to(0, count), np.broadcast_to(0, count))
    batches = batches_of(images, batch_size, equal=equal)
    steps = np.arange(batches.steps)[:, None]
    firsts, ends = map(np.asarray, batches.bounds(steps))
    starts, stops = share(firsts, ends, replica=np.arange(replicas)[None], replicas=replicas)
    parts = zip(np.ravel(starts), np.ravel(stops), strict=True)
    positions = np.concatenate([np.arange(start, stop) for start, stop in parts])
    assert np.array_equal(positions, np.arange(count))


@pytest.mark.parametrize(
    ("equal", "sizes"), [(True, [3, 3, 4]), (False, [4, 4, 2])], ids=["equal", "full"]
)
def test_sizes_of_batches(split: Split, equal: bool, sizes: list[int]) -> None:
    batches = batches_of(split, 4, equal=equal)
    assert (batches.smallest, batches.largest) == (min(sizes), max(sizes))
    assert [len(labels) for _, labels in batches.dataset()] == sizes
    assert [len(batches.batch(0, step)["labels"]) for step in range(3)] == sizes


def test_no_iterator_waits_for_tf_datas_tuning_thread(split: Split) -> None:
    batches = batches_of(split, 4)
    evaluated = evaluation_batches(split, ImageShape(channels=1, stored_size=4, image_size=4))
    assert batches.dataset().options().autotune.enabled is False
    assert evaluated.options().autotune.enabled is False


@pytest.mark.parametrize(
    ("present", "share", "counts"),
    [
        (["all"], None, (600, 200, 200)),
        (["train"], 0.05, (750, 50, 200)),
        (["train", "test"], None, (900, 100, 1000)),
        (["train", "test"], 0.02, (980, 20, 1000)),
        (["train", "validation"], 0.02, (900, 1000, 100)),
        (["train", "validation", "test"], 0.02, (1000, 1000, 1000)),
    ],
)
def test_missing_splits_are_carved_off_train(
    present: list[str], share: float | None, counts: tuple[int, int, int]
) -> None:
    thousand = Split(
        images=CachedImages(tf.zeros((1, 1, 1, 1), tf.uint8)),
        indices=np.arange(1000),
        labels=np.arange(1000) % 5,
    )
    splits = carve_missing_splits(dict.fromkeys(present, thousand), ("a", "b"), 0, share)
    assert tuple(len(splits[name]) for name in ("train", "validation", "test")) == counts
    if counts[0] + counts[1] == 1000:
        assert set(splits["train"].indices) | set(splits["validation"].indices) == set(range(1000))
