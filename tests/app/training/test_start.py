"""What a run's weights start from: a file of keras.applications, or the first images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import Model, applications

from epochal.app.config import Augment, Config, Optim
from epochal.app.errors import UsageError
from epochal.app.training.run.setup import set_up, start
from tests.support.corpus import image_folder
from tests.support.program import epochal

pytestmark = [
    pytest.mark.usefixtures("determinism_ends_here"),
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation:DeprecationWarning"
    ),  # of Keras' own variables
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return image_folder(tmp_path_factory.mktemp("photos"), {"a": 10, "b": 10}, size=32)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory) -> tuple[Path, Model]:
    network = applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    network.save_weights(path)
    return path, network


def config(dataset: object, **options: object) -> Config:
    return Config(
        dataset=str(dataset), augment=Augment(pad_crop=0, flip=False), batch_size=8, **options
    )


def test_training_starts_from_the_file_and_sees_colours_as_it_did(photos, weights_file):
    path, network = weights_file
    setup = set_up(config(photos, model="mobilenet_025", weights=str(path)))
    start(setup)
    assert setup.dataset.preprocessing.mean == (127.5,) * 3
    assert setup.model.get_layer("standardize").mean == [127.5] * 3
    images, _ = next(iter(setup.batches.dataset()))
    expected = network(applications.mobilenet.preprocess_input(images.numpy().astype(np.float32)))
    features = Model(setup.model.input, setup.model.get_layer("pool").input)(images)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("dataset", "model", "message"),
    [
        ("digits", "mobilenet_025", r"weights: they read colour images, digits has 1 channel\(s\)"),
        ("photos", "resnet8", r"weights: resnet8 has no published weights"),
        (
            "photos",
            "mobilenet_050",
            r"weights: .* does not fit mobilenet_050: its layer 'conv1' has weights",
        ),
    ],
)
def test_weights_that_do_not_fit_are_the_users_error(dataset, model, message, photos, weights_file):
    where = photos if dataset == "photos" else dataset
    with pytest.raises(UsageError, match=message):
        start(set_up(config(where, model=model, weights=str(weights_file[0]), image_size=32)))


def test_weight_normalization_starts_from_the_training_images():
    setup = set_up(Config(model="lenet5", norm="weight", batch_size=64))
    before = setup.model.get_layer("c1_conv").gain.numpy()
    start(setup)
    gain = setup.model.get_layer("c1_conv").gain.numpy()
    assert (gain != before).all()
    again = set_up(Config(model="lenet5", norm="weight", batch_size=64))
    start(again)
    np.testing.assert_array_equal(again.model.get_layer("c1_conv").gain, gain)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_one_image_more_than_full_batches_hold_costs_no_accuracy(tmp_path, seed):
    """897 = 7 x 128 + 1 images: the statistics of a batch of one image ruin batch norm."""
    flags = ["--model", "resnet8", "--batch-size", 128, "--epochs", 8, "--data.part", 0.831]
    done = epochal(["train", *flags, "--seed", seed, "--name", "r"], tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs/r/result.json").read_text())
    assert result["test_accuracy"] > 0.85


def test_batch_norm_of_one_value_is_refused(photos):
    settings = config(photos, model="mobilenet_025", image_size=32)
    with pytest.raises(UsageError, match="needs at least 2 values a channel"):
        set_up(replace(settings, batch_size=1))
    with pytest.raises(UsageError, match="needs at least 2 values a channel"):
        set_up(replace(settings, optim=Optim(micro_batches=8)))


def test_devices_are_refused_where_tensorflow_is_in_use() -> None:
    tf.zeros(1)
    with pytest.raises(UsageError, match="devices: 3 asked for, but TensorFlow is in use"):
        set_up(Config(devices=3, batch_size=66, model="softmax"))
