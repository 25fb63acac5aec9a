"""Preprocessing: one operation, the same eagerly, in tf.data, in a SavedModel and in batches."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.data.dataset import CachedImages, Dataset, Split, StreamedImages
from epochal.app.data.decoding import decode, resize
from epochal.app.data.pipeline import evaluation_batches
from epochal.app.data.preprocessing import ImageShape, Preprocessing
from tests.support import corpus

CONTENTS = [case.content for case in corpus.sound().values()]
SHAPE = ImageShape(channels=3, stored_size=16, image_size=14)
PREPROCESSING = Preprocessing(
    classes=("a", "b"),
    channels=3,
    stored_size=16,
    image_size=14,
    mean=(1.0, 2.0, 3.0),
    deviation=(4.0, 5.0, 6.0),
)


class Served(tf.Module):
    """What an export holds."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def stored(self, encoded: tf.Tensor) -> tf.Tensor:
        return SHAPE.store_files(encoded)


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    """Every sound file of the corpus as decoding and scaling give it."""
    return np.stack([resize(decode(content, 3), 16).numpy() for content in CONTENTS])


def test_a_file_is_decoded_and_scaled(stored: np.ndarray) -> None:
    for content, expected in zip(CONTENTS, stored, strict=True):
        np.testing.assert_array_equal(SHAPE.store(content), expected)


def test_streamed_images_are_stored_alike(stored: np.ndarray) -> None:
    contents = tf.constant(CONTENTS)
    streamed = StreamedImages(lambda index: contents[index], SHAPE)
    split = Split(streamed, np.arange(len(CONTENTS)), np.zeros(len(CONTENTS), np.int32))
    np.testing.assert_array_equal(split.read(), stored)
    np.testing.assert_array_equal(streamed.cached(len(CONTENTS)).tensor, stored)
    batches = evaluation_batches(split, PREPROCESSING).as_numpy_iterator()
    seen = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal(seen, stored[:, 1:15, 1:15])


def test_an_export_stores_alike(stored: np.ndarray, tmp_path: Path) -> None:
    tf.saved_model.save(Served(), str(tmp_path))
    loaded: Any = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.stored(tf.constant(CONTENTS)), stored)


def test_decoded_pixels_are_scaled_like_files() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 23, 3), np.uint8)
    pngs = tf.stack([tf.io.encode_png(image) for image in images])
    np.testing.assert_array_equal(SHAPE.store_pixels(tf.constant(images)), SHAPE.store_files(pngs))


def test_the_network_sees_the_centre(stored: np.ndarray) -> None:
    np.testing.assert_array_equal(SHAPE.crop(tf.constant(stored)), stored[:, 1:15, 1:15])
    np.testing.assert_array_equal(SHAPE.crop(tf.constant(stored[0])), stored[0, 1:15, 1:15])
    whole = replace(SHAPE, image_size=16)
    np.testing.assert_array_equal(whole.crop(tf.constant(stored)), stored)


def test_it_comes_back_from_the_data_card() -> None:
    split = Split(
        CachedImages(tf.zeros((1, 16, 16, 3), tf.uint8)), np.zeros(1, int), np.zeros(1, int)
    )
    dataset = Dataset(
        name="none",
        train=split,
        validation=split,
        test=split,
        preprocessing=PREPROCESSING,
        flippable=False,
    )
    assert Preprocessing.from_card(dataset.card(test=True)) == PREPROCESSING
    assert PREPROCESSING.input_shape == (14, 14, 3)
