"""The batches of training and evaluation as tf.data sees them."""

import numpy as np
import pytest
import tensorflow as tf

from app.data.augment import Augmentation
from app.data.dataset import Cached, Split
from app.data.pipeline import Position, TrainingBatches, evaluation_batches


@pytest.fixture
def split() -> Split:
    """Ten images."""
    images = Cached(tf.zeros((10, 4, 4, 1), tf.uint8))
    return Split(images=images, indices=np.arange(10), labels=np.zeros(10, np.int32))


def test_no_iterator_waits_for_tf_datas_tuning_thread(split: Split) -> None:
    augmentation = Augmentation(stored_size=4, image_size=4)
    batches = TrainingBatches(split=split, batch_size=4, augmentation=augmentation, seed=0, position=Position())
    for dataset in (batches.dataset(), evaluation_batches(split, image_size=4)):
        assert dataset.options().autotune.enabled is False
