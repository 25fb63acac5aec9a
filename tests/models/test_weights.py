"""Weights files: the zoo's network answers as Keras' own; what does not fit changes nothing."""

import h5py
import keras
import numpy as np
import pytest
from keras import applications

from epochal import models
from epochal.models.weights import load

# the convention of Keras' networks, as its `preprocess_input` computes it
NETWORKS = {
    "mobilenet_025": (
        lambda **how: applications.MobileNet(alpha=0.25, **how),
        applications.mobilenet,
        32,
    ),
    "vgg16": (applications.VGG16, applications.vgg16, 32),
    "mobilenet_v2_035": (
        lambda **how: applications.MobileNetV2(alpha=0.35, **how),
        applications.mobilenet_v2,
        32,
    ),
    "xception": (applications.Xception, applications.xception, 71),
    "densenet121": (applications.DenseNet121, applications.densenet, 32),
    "inception_v3": (applications.InceptionV3, applications.inception_v3, 75),
    "inception_resnet_v2": (applications.InceptionResNetV2, applications.inception_resnet_v2, 75),
    "vgg19": (applications.VGG19, applications.vgg19, 32),
}
FAST = ["mobilenet_025"]
every_network = pytest.mark.parametrize(
    "name",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS],
)
# Keras' own: its variables do not take NumPy 2's `copy` where it writes them to a file
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def keras_network(name, **how):
    """Keras' network with weights and statistics unlike those it starts with."""
    make, module, size = NETWORKS[name]
    model = make(weights=None, input_shape=(size, size, 3), **{"include_top": False, **how})
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


def ours(name, size):
    colours = models.ZOO[name].colours
    return models.build(name, (size, size, 3), 7, mean=colours.mean, deviation=colours.deviation)


@every_network
@pytest.mark.parametrize("kind", ["old.h5", "new.weights.h5"])
def test_network_answers_as_that_of_keras(name, kind, tmp_path):
    reference, preprocess, size = keras_network(name)
    save_old(reference, tmp_path / kind) if kind == "old.h5" else reference.save_weights(
        tmp_path / kind
    )
    model = ours(name, size)
    load(model, tmp_path / kind)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    expected = reference(preprocess(images.astype(np.float32)))
    # the layer before our head: what the network ends with
    head = next(layer for layer in model.layers if layer.name in ("pool", "flatten"))
    features = keras.Model(model.input, head.input)(images)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["old.h5", "new.weights.h5"])
def test_the_classifier_of_a_file_is_left_out(kind, tmp_path):
    reference, _, size = keras_network("mobilenet_025", include_top=True, classes=11)
    save_old(reference, tmp_path / kind) if kind == "old.h5" else reference.save_weights(
        tmp_path / kind
    )
    model = ours("mobilenet_025", size)
    logits = model.get_layer("logits").get_weights()
    load(model, tmp_path / kind)
    np.testing.assert_array_equal(
        model.get_layer("conv1").kernel, reference.get_layer("conv1").kernel
    )
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], logits[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["old.h5", "new.weights.h5"])
def test_dense_layers_before_the_classifier_are_read_where_the_file_has_them(kind, tmp_path):
    reference, _, size = keras_network("vgg16", include_top=True, classes=11)
    save_old(reference, tmp_path / kind) if kind == "old.h5" else reference.save_weights(
        tmp_path / kind
    )
    model = ours("vgg16", size)
    load(model, tmp_path / kind)
    for name in ("fc1", "fc2"):
        np.testing.assert_array_equal(
            model.get_layer(name).kernel, reference.get_layer(name).kernel
        )


@pytest.mark.parametrize("kind", ["old.h5", "new.weights.h5"])
@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        (
            "mobilenet_025",
            "mobilenet_v2_035",
            r"does not fit mobilenet_025: its layer '\w+' has weights .*, needs",
        ),
        pytest.param("vgg16", "vgg19", "does not fit vgg16: ", marks=pytest.mark.slow),
        pytest.param("vgg19", "vgg16", "does not fit vgg19: ", marks=pytest.mark.slow),
        pytest.param(
            "densenet169", "densenet121", "does not fit densenet169: ", marks=pytest.mark.slow
        ),
    ],
)
def test_another_networks_file_is_refused_whole(name, wrong, message, kind, tmp_path):
    other, _, size = keras_network(wrong)
    save_old(other, tmp_path / kind) if kind == "old.h5" else other.save_weights(tmp_path / kind)
    model = ours(name, size)
    before = [weight.numpy() for weight in model.weights]
    with pytest.raises(ValueError, match=message) as refusal:
        load(model, tmp_path / kind)
    assert "\n" not in str(refusal.value)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_numbers_of_another_kind_are_refused_whole(tmp_path):
    reference, _, size = keras_network("mobilenet_025")
    save_old(reference, tmp_path / "a.h5")
    last = reference.layers[-2].name  # everything before it fits
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        name = next(iter(file[last].attrs["weight_names"]))
        shape = file[last][name].shape
        del file[last][name]
        file[last].create_dataset(name, data=np.full(shape, b"text"))
    model = ours("mobilenet_025", size)
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"does not fit mobilenet_025: .* of .*S4.* of floats"):
        load(model, tmp_path / "a.h5")
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


def test_damaged_file_and_networks_of_our_own_are_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"a\.h5 is no readable weights file"):
        load(ours("mobilenet_025", 32), tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["something"] = 1
    with pytest.raises(ValueError, match=r"b\.h5 is no readable weights file"):
        load(ours("mobilenet_025", 32), tmp_path / "b.h5")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["layers/conv2d"] = 1
    with pytest.raises(ValueError, match=r"c\.h5 is no readable weights file"):
        load(ours("mobilenet_025", 32), tmp_path / "c.h5")
    with pytest.raises(
        ValueError, match=r"resnet8 is no network of keras\.applications, whose files fit vgg16"
    ):
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
        (with_a_circle, "is no readable weights file"),
    ],
)
def test_a_hostile_file_is_refused_before_its_numbers_are_read(spoil, message, tmp_path):
    reference, _, size = keras_network("mobilenet_025")
    save_old(reference, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        spoil(*first_weight(file), tmp_path / "other")
    model = ours("mobilenet_025", size)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message) as refusal:
        load(model, tmp_path / "a.h5")
    assert "\n" not in str(refusal.value)
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)
