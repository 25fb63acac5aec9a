"""Weights files: the zoo's network answers as Keras' own; what does not fit changes nothing."""

import json
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest
from keras import applications

from epochal import models
from epochal.models.weights import NUM_WEIGHTS, load

# the convention of Keras' networks, as its `preprocess_input` computes it
NETWORKS = {
    "mobilenet_025": (applications.MobileNet, applications.mobilenet, {"alpha": 0.25}),
    "mobilenet_050": (applications.MobileNet, applications.mobilenet, {"alpha": 0.5}),
    "mobilenet_075": (applications.MobileNet, applications.mobilenet, {"alpha": 0.75}),
    "mobilenet": (applications.MobileNet, applications.mobilenet, {}),
    "mobilenet_v2_035": (applications.MobileNetV2, applications.mobilenet_v2, {"alpha": 0.35}),
    "mobilenet_v2_050": (applications.MobileNetV2, applications.mobilenet_v2, {"alpha": 0.5}),
    "mobilenet_v2_075": (applications.MobileNetV2, applications.mobilenet_v2, {"alpha": 0.75}),
    "mobilenet_v2": (applications.MobileNetV2, applications.mobilenet_v2, {}),
    "mobilenet_v2_140": (applications.MobileNetV2, applications.mobilenet_v2, {"alpha": 1.4}),
    "vgg16": (applications.VGG16, applications.vgg16, {}),
    "vgg19": (applications.VGG19, applications.vgg19, {}),
    "xception": (applications.Xception, applications.xception, {}),
    "densenet121": (applications.DenseNet121, applications.densenet, {}),
    "densenet169": (applications.DenseNet169, applications.densenet, {}),
    "densenet201": (applications.DenseNet201, applications.densenet, {}),
    "resnet50_keras": (applications.ResNet50, applications.resnet, {}),
    "resnet101_keras": (applications.ResNet101, applications.resnet, {}),
    "resnet152_keras": (applications.ResNet152, applications.resnet, {}),
    "resnet50_v2_keras": (applications.ResNet50V2, applications.resnet_v2, {}),
    "resnet101_v2_keras": (applications.ResNet101V2, applications.resnet_v2, {}),
    "resnet152_v2_keras": (applications.ResNet152V2, applications.resnet_v2, {}),
    "efficientnet_v2_b0": (applications.EfficientNetV2B0, applications.efficientnet_v2, {}),
    "efficientnet_v2_b1": (applications.EfficientNetV2B1, applications.efficientnet_v2, {}),
    "efficientnet_v2_b2": (applications.EfficientNetV2B2, applications.efficientnet_v2, {}),
    "efficientnet_v2_b3": (applications.EfficientNetV2B3, applications.efficientnet_v2, {}),
    "efficientnet_v2_s": (applications.EfficientNetV2S, applications.efficientnet_v2, {}),
    "efficientnet_v2_m": (applications.EfficientNetV2M, applications.efficientnet_v2, {}),
    "efficientnet_v2_l": (applications.EfficientNetV2L, applications.efficientnet_v2, {}),
    "inception_v3": (applications.InceptionV3, applications.inception_v3, {}),
    "inception_resnet_v2": (applications.InceptionResNetV2, applications.inception_resnet_v2, {}),
}
FAST = ["mobilenet_025"]
every_network = pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
LAYOUTS = ["weights.h5", "model.h5", "new.weights.h5", "new.keras"]
# Keras' own: its variables do not take NumPy 2's `copy` where it writes them to a file
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def keras_network(name, **how):
    """Keras' network with weights and statistics unlike those it starts with."""
    make, module, options = NETWORKS[name]
    size = models.ZOO[name].min_size
    options = {"include_top": False, **options, **how}
    model = make(weights=None, input_shape=(size, size, 3), **options)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    return model, module.preprocess_input, size


def save_old(model, path):
    """Keras' format of before version 3, in which its published files are."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}_{i}:0" for i, weight in enumerate(layer.weights)]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group[name] = weight.numpy()


def save(model, path):
    """Write a file as people have them: `path` ends in one of LAYOUTS."""
    if path.name == "weights.h5":
        save_old(model, path)
    elif path.name == "new.weights.h5":
        model.save_weights(path)
    else:
        model.save(path)


def ours(name, size):
    colours = models.ZOO[name].colours
    return models.build(name, (size, size, 3), 7, mean=colours.mean, deviation=colours.deviation)


@every_network
def test_network_answers_as_that_of_keras(name, tmp_path):
    """With the same classifier, which is not read from files, it gives the same logits."""
    top = {"include_top": True, "classes": 7, "classifier_activation": None}
    reference, preprocess, size = keras_network(name, **top)
    model = ours(name, size)
    *_, classifier = (layer for layer in reference.layers if layer.weights)
    kernel, bias = classifier.get_weights()
    logits = [kernel.reshape(-1, 7), bias]  # MobileNet's is a convolution
    model.get_layer("logits").set_weights(logits)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    expected = reference(preprocess(images.astype(np.float32)))
    first = model.get_weights()
    for layout in LAYOUTS:
        save(reference, tmp_path / layout)
        model.set_weights(first)
        load(model, tmp_path / layout)
        for kept, weight in zip(logits, model.get_layer("logits").get_weights(), strict=True):
            np.testing.assert_array_equal(kept, weight)
        check_close(model(images), expected, layout)
        (tmp_path / layout).unlink()


@every_network
def test_network_without_classifier_answers_as_that_of_keras(name, tmp_path):
    reference, preprocess, size = keras_network(name)
    model = ours(name, size)
    # the layer before our head: what the network ends with
    head = next(layer for layer in model.layers if layer.name in ("pool", "flatten"))
    features = keras.Model(model.input, head.input)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    expected = reference(preprocess(images.astype(np.float32)))
    first = model.get_weights()
    for layout in LAYOUTS:
        save(reference, tmp_path / layout)
        model.set_weights(first)
        load(model, tmp_path / layout)
        check_close(features(images), expected, layout)
        (tmp_path / layout).unlink()


@pytest.fixture(scope="module")
def reference():
    """Keras' smallest network, without its classifier."""
    return keras_network("mobilenet_025")[0]


@pytest.fixture(scope="module")
def small():
    """The smallest network, whose weights no test relies on."""
    return ours("mobilenet_025", 32)


def check_close(received, expected, layout):
    largest = np.abs(expected).max()
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-3 * largest, err_msg=layout)


def test_every_network_of_keras_is_tested():
    assert sorted(NETWORKS) == sorted(
        name for name, row in models.ZOO.items() if row.colours and name != "efficientnet_lite0"
    )
    assert sorted(NUM_WEIGHTS) == sorted(NETWORKS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_known_by_its_number_of_weights(name):
    reference, _, _ = keras_network(name)
    assert reference.count_params() == NUM_WEIGHTS[name]


def test_a_compiled_models_file_and_one_of_keras_2_are_read(tmp_path, reference, small):
    first = small.get_weights()
    reference.compile(optimizer="adam", loss="mse")
    reference.optimizer.build(reference.trainable_variables)
    reference.save(tmp_path / "new.keras")
    reference.save_weights(tmp_path / "new.weights.h5")
    with h5py.File(tmp_path / "new.weights.h5", "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    for kind in ("new.keras", "new.weights.h5"):
        small.set_weights(first)
        load(small, tmp_path / kind)
        kernel = reference.get_layer("conv1").kernel
        np.testing.assert_array_equal(small.get_layer("conv1").kernel, kernel)


@pytest.mark.parametrize(
    "how", [{"include_top": False}, {"include_top": True, "classes": 5}], ids=["features", "whole"]
)
@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (
            "mobilenet_025",
            "mobilenet_v2_035",
            r"does not fit mobilenet_025: its layer '\w+' has weights .*, needs .*mobilenet_v2_035",
        ),
        pytest.param(
            "mobilenet_v2_035",
            "mobilenet_025",
            "does not fit mobilenet_v2_035: .* mobilenet_025",
            marks=pytest.mark.slow,
        ),
        pytest.param("vgg16", "vgg19", "not fit vgg16: .* vgg19", marks=pytest.mark.slow),
        pytest.param("vgg19", "vgg16", "not fit vgg19: .* vgg16", marks=pytest.mark.slow),
        pytest.param("mobilenet", "vgg16", "not fit mobilenet: .* vgg16", marks=pytest.mark.slow),
        pytest.param(
            "densenet169",
            "densenet121",
            "not fit densenet169: .* densenet121",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_another_networks_file_is_refused_whole(name, wrong, message, how, tmp_path):
    other, _, size = keras_network(wrong, **how)
    model = ours(name, size)
    before = model.get_weights()
    for layout in LAYOUTS:
        save(other, tmp_path / layout)
        with pytest.raises(ValueError, match=message) as refusal:
            load(model, tmp_path / layout)
        assert "\n" not in str(refusal.value)
        (tmp_path / layout).unlink()
    for weight, value in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_numbers_of_another_kind_are_refused_whole(tmp_path, reference, small):
    save_old(reference, tmp_path / "a.h5")
    last = reference.layers[-2].name  # everything before it fits
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        name = next(iter(file[last].attrs["weight_names"]))
        shape = file[last][name].shape
        del file[last][name]
        file[last].create_dataset(name, data=np.full(shape, b"text"))
    before = small.get_weights()
    with pytest.raises(ValueError, match=r"does not fit mobilenet_025: .* of .*S4.* of floats"):
        load(small, tmp_path / "a.h5")
    for value, weight in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_damaged_file_and_networks_of_our_own_are_refused(tmp_path, small):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"a\.h5 is no readable weights file"):
        load(small, tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["something"] = 1
    with pytest.raises(ValueError, match=r"b\.h5 is no readable weights file"):
        load(small, tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["layers/conv2d"] = 1
    with pytest.raises(ValueError, match=r"c\.h5 is no readable weights file"):
        load(small, tmp_path / "c.h5")
    with pytest.raises(ValueError, match=r"resnet8 has no published weights .*: vgg16"):
        load(models.build("resnet8", (8, 8, 3), 2), tmp_path / "a.h5")


def first_weight(file):
    """The group that holds the first array of a file in the old format, and its name there."""
    for layer_name in file.attrs["layer_names"]:
        group = file[layer_name]
        for name in group.attrs["weight_names"]:
            return group, name
    raise AssertionError("no weights")


def with_external_link(group, name, other):
    with h5py.File(other, "w") as file:
        file["secret"] = group[name][()]
    del group[name]
    group[name] = h5py.ExternalLink(str(other), "secret")


def with_soft_link(group, name, other):
    group.file["elsewhere"] = group[name][()]
    del group[name]
    group[name] = h5py.SoftLink("/elsewhere")


def with_external_storage(group, name, other):
    values = group[name][()]
    other.write_bytes(values.tobytes())
    del group[name]
    external = [(str(other), 0, h5py.h5f.UNLIMITED)]
    group.create_dataset(name, shape=values.shape, dtype=values.dtype, external=external)


def with_virtual_array(group, name, other):
    values = group[name][()]
    with h5py.File(other, "w") as file:
        file["secret"] = values
    layout = h5py.VirtualLayout(shape=values.shape, dtype=values.dtype)
    layout[...] = h5py.VirtualSource(str(other), "secret", shape=values.shape)
    del group[name]
    group.create_virtual_dataset(name, layout)


def with_terabytes(group, name, other):
    del group[name]
    group.create_dataset(name, shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))


def with_a_huge_chunk(group, name, other):
    values = group[name][()]
    del group[name]
    chunks = (100_000, *values.shape[1:])
    maxshape = (None, *values.shape[1:])
    data = group.create_dataset(name, values.shape, values.dtype, chunks=chunks, maxshape=maxshape)
    data[...] = values


def with_a_circle(group, name, other):
    del group[name]
    group[name] = group.file["/"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_external_link, "is a link"),
        (with_soft_link, "is a link"),
        (with_external_storage, "lies in another file"),
        (with_virtual_array, "lies in another file"),
        (with_terabytes, "has weights"),
        (with_a_huge_chunk, "lies in chunks of"),
        (with_a_circle, "is no readable weights file"),
    ],
)
def test_a_hostile_file_is_refused_before_its_numbers_are_read(
    spoil, message, tmp_path, reference, small
):
    save_old(reference, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        spoil(*first_weight(file), tmp_path / "other")
    before = small.get_weights()
    with pytest.raises(ValueError, match=message) as refusal:
        load(small, tmp_path / "a.h5")
    assert "\n" not in str(refusal.value)
    for value, weight in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def archive(path, members, how=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", how) as file:
        warnings.simplefilter("ignore", UserWarning)  # of a name that is given twice
        for name, content in members:
            file.writestr(name, content)


@pytest.mark.parametrize(
    ("members", "how", "message"),
    [
        ([("model.weights.h5", bytes(10**7))], zipfile.ZIP_DEFLATED, "would have 10,000,000 bytes"),
        ([("model.weights.h5", b"")] * 2, zipfile.ZIP_STORED, "each once"),
        ([("data.pkl", b""), ("model.weights.h5", b"")], zipfile.ZIP_STORED, "holds 'data.pkl'"),
        ([("../model.weights.h5", b"")], zipfile.ZIP_STORED, "holds '../model"),
        ([("config.json", b"{}")], zipfile.ZIP_STORED, "is no readable weights file"),
        ([("model.weights.h5", b"no HDF5")], zipfile.ZIP_STORED, "is no readable weights file"),
    ],
)
def test_an_archive_that_keras_does_not_write_is_refused(members, how, message, tmp_path, small):
    archive(tmp_path / "a.keras", members, how)
    with pytest.raises(ValueError, match=message) as refusal:
        load(small, tmp_path / "a.keras")
    assert "\n" not in str(refusal.value)


def test_an_archive_is_damaged_where_a_bit_differs_and_its_code_is_not_run(
    tmp_path, reference, small
):
    path = tmp_path / "a.keras"
    reference.save(path)
    with zipfile.ZipFile(path) as file:
        weights = file.read("model.weights.h5")
    layer = {"module": "builtins", "class_name": "exec", "config": {"code": "raise SystemExit"}}
    archive(path, [("config.json", json.dumps(layer)), ("model.weights.h5", weights)])
    load(small, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no readable weights file"):
        load(small, path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is no readable weights file"):
        load(small, path)


def test_an_archive_that_was_compressed_again_is_read(tmp_path, reference, small):
    reference.save_weights(tmp_path / "new.weights.h5")
    members = [("model.weights.h5", (tmp_path / "new.weights.h5").read_bytes())]
    archive(tmp_path / "a.keras", members, zipfile.ZIP_DEFLATED)
    load(small, tmp_path / "a.keras")
    kernel = reference.get_layer("conv1").kernel
    np.testing.assert_array_equal(small.get_layer("conv1").kernel, kernel)
