"""Batches of training and evaluation as tf.data sees them, and the splits they come from."""

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.data.augment import Augmentation
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.splits import carve_missing_splits


@pytest.fixture
def split() -> Split:
    """Ten images."""
    images = CachedImages(tf.zeros((10, 4, 4, 1), tf.uint8))
    return Split(images=images, indices=np.arange(10), labels=np.zeros(10, np.int32))


def test_no_iterator_waits_for_tf_datas_tuning_thread(split: Split) -> None:
    augmentation = Augmentation(stored_size=4, image_size=4)
    batches = TrainingBatches(
        split=split, batch_size=4, augmentation=augmentation, seed=0, position=Position()
    )
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
    splits = carve_missing_splits(dict.fromkeys(present, thousand), 0, share)
    assert tuple(len(splits[name]) for name in ("train", "validation", "test")) == counts
    if counts[0] + counts[1] == 1000:
        assert set(splits["train"].indices) | set(splits["validation"].indices) == set(range(1000))
