"""Weights files of `keras.applications`: loads them into the same network of the zoo."""

from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from epochal.models.applications import name_prefix
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.zoo import ZOO

# layers behind the features in Keras' networks; ours end otherwise
TOP = ("fc1", "fc2", "predictions", "conv_preds")
StoredLayer = tuple[str, list[h5py.Dataset]]  # a layer's name in the file, and its weights


def load(model: keras.Model, path: Path) -> None:
    """Fill a model of the zoo, except its logits, from a weights file of `keras.applications`.

    Files with and without the classifier fit, in Keras' old format (`layer_names`) and its new one
    (`.weights.h5`), those that Keras offers and those that its models saved. Nothing is changed
    unless everything fits. A network whose file expects blue first gets its first kernel reversed,
    so that it goes on to read red first.

    Raises:
        ValueError: the network is not from `keras.applications`, or the file is damaged, of
            another network, or takes numbers from other files.
    """
    colours = ZOO[model.name].colours
    if colours is None:
        fitting = ", ".join(name for name, row in ZOO.items() if row.colours)
        raise ValueError(
            f"{model.name} is no network of keras.applications, whose files fit {fitting}."
        )
    targets = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    try:
        with h5py.File(path) as file:
            _refuse_foreign_data(file, path)
            if "layer_names" in file.attrs:
                stored = _find_in_old_format(file)
            else:
                stored = _find_in_new_format(file, model)
            pairs = _match_layers(targets, stored, f"{path} does not fit {model.name}")
            # Read only now, when their shapes are known to be the network's own.
            weights = []
            for layer, datasets in pairs:
                weights.append((layer, [np.asarray(dataset) for dataset in datasets]))
    # TypeError: an array where there should be a group
    except (OSError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no readable weights file ({str(error)[:80]}); download it again."
        ) from error
    if colours.blue_first:
        first_layer, (kernel, *others) = weights[0]
        weights[0] = (first_layer, [kernel[:, :, ::-1], *others])
    for layer, arrays in weights:
        layer.set_weights(arrays)


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
        group = file[_decode(layer_name)]
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
    groups = file["layers"]
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
            stored.append((layer.name, _find_variables(groups[group_name])))
    extra = {}
    for group_name in groups:
        if group_name not in read:
            datasets = _find_variables(groups[group_name])
            if datasets:
                extra[group_name] = datasets
    for group_name, datasets in extra.items():
        # Keras' classifiers are dense layers, or one convolution in MobileNet
        is_classifier = group_name.startswith("dense") or len(extra) == 1
        stored.append(("predictions" if is_classifier else group_name, datasets))
    return stored


def _find_variables(group: h5py.Group) -> list[h5py.Dataset]:
    if not isinstance(group, h5py.Group):
        raise KeyError("a layer is no group")
    count = len(group.get("vars", ()))
    return [_dataset(group["vars"], str(number)) for number in range(count)]


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    member = group[name]
    if not isinstance(member, h5py.Dataset):
        raise KeyError(f"{name} is no array")
    return member


def _match_layers(
    targets: list[Any], stored: list[StoredLayer], complaint: str
) -> list[tuple[Any, list[h5py.Dataset]]]:
    """Return each layer with its arrays: features by their order, those in `TOP` by name."""
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
        _check_fit(layer, name, datasets, complaint)
        pairs.append((layer, datasets))
    if len(stored_body) > len(body):
        extra = stored_body[len(body)][0]
        raise ValueError(
            f"{complaint}: only the file has a layer {extra!r}; is it of another network?"
        )
    if len(stored_body) < len(body):
        extra = body[len(stored_body)].name
        raise ValueError(
            f"{complaint}: only the network has a layer {extra!r}; is it of another network?"
        )
    for layer in targets:
        if layer.name in stored_top:
            _check_fit(
                layer,
                layer.name,
                stored_top[layer.name],
                complaint,
            )
            pairs.append((layer, stored_top[layer.name]))
    return pairs


def _check_fit(layer: Any, name: str, datasets: list[h5py.Dataset], complaint: str) -> None:
    needed = [tuple(weight.shape) for weight in layer.weights]
    shapes = [dataset.shape for dataset in datasets]
    if shapes == needed and all(dataset.dtype.kind == "f" for dataset in datasets):
        return
    dtypes = ", ".join(sorted({str(dataset.dtype) for dataset in datasets}))
    raise ValueError(
        f"{complaint}: its layer {name!r} has weights {shapes} of {dtypes}, "
        f"ours, {layer.name!r}, needs {needed} of floats."
    )


def _decode(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
