"""Published weights files: loads them into the same network of the zoo."""

import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from epochal.models import efficientnet_lite_weights
from epochal.models.applications import name_prefix
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.zoo import ZOO

# layers behind the features in Keras' networks; ours end otherwise
TOP = ("fc1", "fc2", "predictions", "conv_preds")
StoredLayer = tuple[str, list[h5py.Dataset]]  # a layer's name in the file, and its weights
# of each network before its classifier, moving statistics included
NUM_WEIGHTS = {
    "vgg16": 14_714_688,
    "vgg19": 20_024_384,
    "inception_v3": 21_802_784,
    "inception_resnet_v2": 54_336_736,
    "xception": 20_861_480,
    "mobilenet": 3_228_864,
    "mobilenet_025": 218_544,
    "mobilenet_050": 829_536,
    "mobilenet_075": 1_832_976,
    "mobilenet_v2": 2_257_984,
    "mobilenet_v2_035": 410_208,
    "mobilenet_v2_050": 706_224,
    "mobilenet_v2_075": 1_382_064,
    "mobilenet_v2_140": 4_363_712,
    "resnet50_keras": 23_587_712,
    "resnet101_keras": 42_658_176,
    "resnet152_keras": 58_370_944,
    "resnet50_v2_keras": 23_564_800,
    "resnet101_v2_keras": 42_626_560,
    "resnet152_v2_keras": 58_331_648,
    "efficientnet_v2_b0": 5_919_312,
    "efficientnet_v2_b1": 6_931_124,
    "efficientnet_v2_b2": 8_769_374,
    "efficientnet_v2_b3": 12_930_622,
    "efficientnet_v2_s": 20_331_360,
    "efficientnet_v2_m": 53_150_388,
    "efficientnet_v2_l": 117_746_848,
    "densenet121": 7_037_504,
    "densenet169": 12_642_880,
    "densenet201": 18_321_984,
}
# What h5py and zipfile raise; TypeError: something that is no list
_DAMAGE = (
    OSError,
    KeyError,
    TypeError,
    RuntimeError,
    EOFError,
    UnicodeDecodeError,
    zipfile.BadZipFile,
    zlib.error,
)
_ARCHIVE = b"PK\x03\x04"  # begins a .keras file
_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")  # of such a file
_MOST_BYTES = 2_500_000_000  # the largest network, and an optimizer with three times as much
_MOST_INFLATION = 4  # weights hardly shrink; the zeros of an optimizer that has not begun do


def load(model: keras.Model, path: Path) -> None:
    """Fill a model of the zoo, except its logits, from a file of published weights.

    That of EfficientNet-Lite0 is described in `efficientnet_lite_weights`, all others are of
    `keras.applications`.
    Files with and without the classifier fit, those that Keras offers and those that its models
    saved: `.h5` of weights or of a whole model, `.weights.h5`, and `.keras`, of which nothing but
    its arrays is read. Nothing is changed unless everything fits. A network whose file expects
    blue first gets its first kernel reversed, so that it goes on to read red first.

    Raises:
        ValueError: the network has no published weights, or the file is damaged, of another
            network, or takes numbers from other files.
    """
    colours = ZOO[model.name].colours
    if colours is None:
        fitting = ", ".join(name for name, row in ZOO.items() if row.colours)
        raise ValueError(
            f"{model.name} has no published weights that are known here; these have: {fitting}."
        )
    if model.name not in NUM_WEIGHTS:
        efficientnet_lite_weights.load(model, path)
        return
    targets = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    try:
        with _open(path) as file:
            if "layer_names" in file.attrs:
                stored = _find_in_old_format(file)
            else:
                stored = _find_in_new_format(file, model)
            try:
                pairs = _match_layers(targets, stored)
            except ValueError as mismatch:
                identity = _identify(stored, model.name)
                raise ValueError(
                    f"{path} does not fit {model.name}: {mismatch}; {identity}."
                ) from mismatch
            # Read only now, when their shapes are known to be the network's own.
            weights = []
            for layer, datasets in pairs:
                weights.append((layer, [np.asarray(dataset) for dataset in datasets]))
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is no readable weights file ({str(error)[:80]}); download it again."
        ) from error
    if colours.blue_first:
        first_layer, (kernel, *others) = weights[0]
        weights[0] = (first_layer, [kernel[:, :, ::-1], *others])
    for layer, arrays in weights:
        layer.set_weights(arrays)


@contextmanager
def _open(path: Path) -> Iterator[h5py.Group]:
    """Open the group in which a file has its layers, and see that all its numbers lie in it."""
    content: Any = path
    with path.open("rb") as beginning:
        if beginning.read(len(_ARCHIVE)) == _ARCHIVE:
            content = BytesIO(_read_member(path))
    with h5py.File(content) as file:
        _refuse_foreign_data(file, path)
        if "model_weights" in file:  # a whole model in one .h5
            yield _group(file, "model_weights")
        else:
            yield file


def _read_member(path: Path) -> bytes:
    """Return the weights in a `.keras` file; what else is in it is not read.

    Raises:
        KeyError: there are none.
        ValueError: there is something that Keras does not write, or that inflates.
    """
    with zipfile.ZipFile(path) as archive:
        expected_names = list(_MEMBERS)
        for name in archive.namelist():
            if name.startswith("assets/"):
                continue
            if name not in expected_names:
                expected = ", ".join(_MEMBERS)
                raise ValueError(f"{path}: holds {name[:60]!r}, expected {expected}, each once.")
            expected_names.remove(name)
        member = archive.getinfo("model.weights.h5")
        most_bytes = min(_MOST_BYTES, _MOST_INFLATION * path.stat().st_size)
        if member.file_size > most_bytes:
            raise ValueError(
                f"{path}: {member.filename} would have {member.file_size:,} bytes, expected at "
                f"most {most_bytes:,}; save the weights alone, as .weights.h5."
            )
        return archive.read(member)


def _refuse_foreign_data(file: h5py.File, path: Path) -> None:
    """Refuse links, and arrays whose numbers lie elsewhere: they would read any file there is."""
    groups: list[h5py.Group] = [file]
    seen = set()
    while groups:
        group = groups.pop()
        for name in group:
            link = group.get(name, getlink=True)
            place = f"{group.name}/{name}"
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{path}: {place} is a link, expected weights; download it again.")
            member = group[name]
            address = h5py.h5o.get_info(member.id).addr
            if isinstance(member, h5py.Group) and address not in seen:
                seen.add(address)
                groups.append(member)
            if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
                raise ValueError(
                    f"{path}: {place} lies in another file, expected weights; download it again."
                )


def _find_in_old_format(file: h5py.File) -> list[StoredLayer]:
    """Return the layers with weights in the order of the network."""
    stored = []
    for layer_name in file.attrs["layer_names"]:
        group = _group(file, _decode(layer_name))
        weight_names = group.attrs["weight_names"]
        if len(weight_names):
            datasets = [_dataset(group, _decode(name)) for name in weight_names]
            stored.append((_decode(layer_name), datasets))
    return stored


def _find_in_new_format(file: h5py.File, model: keras.Model) -> list[StoredLayer]:
    """Return the layers in the order of our network and under its names, then those that it lacks.

    The file calls a layer by its class and a number, so that only a network of the same classes
    tells the order.
    """
    # Keras 2 called it otherwise.
    groups = _group(file, "layers" if "layers" in file else "_layer_checkpoint_dependencies")
    stored = []
    counts = Counter[str]()
    read = set()
    for layer in model.layers:
        layer_class = type(layer)
        if isinstance(layer, FusedBatchNormalization):
            layer_class = keras.layers.BatchNormalization
        prefix = name_prefix(layer_class)
        group_name = f"{prefix}_{counts[prefix]}" if counts[prefix] else prefix
        counts[prefix] += 1
        if layer.weights and layer.name != "logits" and group_name in groups:
            read.add(group_name)
            stored.append((layer.name, _find_variables(_group(groups, group_name))))
    extra = {}
    for group_name in groups:
        if group_name not in read:
            datasets = _find_variables(_group(groups, group_name))
            if datasets:
                extra[group_name] = datasets
    for group_name, datasets in extra.items():
        # Keras' classifiers are dense layers, or one convolution in MobileNet
        is_classifier = group_name.startswith("dense") or len(extra) == 1
        stored.append(("predictions" if is_classifier else group_name, datasets))
    return stored


def _find_variables(group: h5py.Group) -> list[h5py.Dataset]:
    if "vars" not in group:
        return []
    variables = _group(group, "vars")
    return [_dataset(variables, str(number)) for number in range(len(variables))]


def _group(parent: h5py.Group, name: str) -> h5py.Group:
    member = parent[name]
    if not isinstance(member, h5py.Group):
        raise KeyError(f"{name} is no group")
    return member


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    member = group[name]
    if not isinstance(member, h5py.Dataset):
        raise KeyError(f"{name} is no array")
    return member


def _match_layers(
    targets: list[Any], stored: list[StoredLayer]
) -> list[tuple[Any, list[h5py.Dataset]]]:
    """Return each layer with its arrays: features by their order, those in `TOP` by name.

    Raises:
        ValueError: naming the first layer that does not fit.
    """
    body = [layer for layer in targets if layer.name not in TOP]
    stored_body = []
    stored_top = {}
    for name, datasets in stored:
        if name in TOP:
            stored_top[name] = datasets
        else:
            stored_body.append((name, datasets))
    pairs = []
    for layer, (name, datasets) in zip(body, stored_body, strict=False):
        _check_fit(layer, name, datasets)
        pairs.append((layer, datasets))
    if len(stored_body) > len(body):
        extra = stored_body[len(body)][0]
        raise ValueError(f"only the file has a layer {extra!r}")
    if len(stored_body) < len(body):
        extra = body[len(stored_body)].name
        raise ValueError(f"only the network has a layer {extra!r}")
    for layer in targets:
        if layer.name in stored_top:
            _check_fit(layer, layer.name, stored_top[layer.name])
            pairs.append((layer, stored_top[layer.name]))
    return pairs


def _identify(stored: list[StoredLayer], name: str) -> str:
    """Say of which network a file is that does not fit the one called `name`."""
    count = 0
    # 1x1 convolutions with a bias: in the new format MobileNet's classifier has no name but that.
    biased = []
    for layer_name, datasets in stored:
        if layer_name not in TOP:
            size = sum(dataset.size for dataset in datasets)
            count += size
            if len(datasets) == 2 and datasets[0].shape[:2] == (1, 1):
                biased.append(size)
    if len(biased) == 1:
        count -= biased[0]
    for network, network_count in NUM_WEIGHTS.items():
        if count == network_count:
            if network == name:
                return "it was changed; download it again"
            return f"by its {count:,} weights it is of {network}"
    return f"its {count:,} weights are those of no network of the zoo"


def _check_fit(layer: Any, name: str, datasets: list[h5py.Dataset]) -> None:
    needed = [tuple(weight.shape) for weight in layer.weights]
    shapes = [dataset.shape for dataset in datasets]
    for dataset in datasets:
        # HDF5 takes memory for a whole chunk, of which an array that may grow has a small part.
        if dataset.chunks is not None and math.prod(dataset.chunks) > max(1, dataset.size):
            raise ValueError(f"its layer {name!r} lies in chunks of {dataset.chunks}")
    if shapes == needed and all(dataset.dtype.kind == "f" for dataset in datasets):
        return
    dtypes = ", ".join(sorted({str(dataset.dtype) for dataset in datasets}))
    raise ValueError(
        f"its layer {name!r} has weights {shapes} of {dtypes}, "
        f"ours, {layer.name!r}, needs {needed} of floats"
    )


def _decode(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
