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
StoredLayer = tuple[str, list[np.ndarray]]  # a layer's name in the file, and its weights


def load(model: keras.Model, path: Path) -> None:
    """Fill a model of the zoo, except its logits, from a weights file of `keras.applications`.

    Files with and without the classifier fit, in Keras' old format (`layer_names`) and its new one
    (`.weights.h5`), those that Keras offers and those that its models saved. Nothing is changed
    unless everything fits. A network whose file expects blue first gets its first kernel reversed,
    so that it goes on to read red first.

    Raises:
        ValueError: the network is not from `keras.applications`, or the file is damaged or of
            another network.
    """
    colours = ZOO[model.name].colours
    if colours is None:
        fitting = ", ".join(name for name, row in ZOO.items() if row.colours)
        raise ValueError(
            f"{model.name} is no network of keras.applications, whose files fit {fitting}."
        )
    targets = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    pairs = _match_layers(
        targets,
        _read(path, model),
        f"{path} does not fit {model.name}",
    )
    if colours.blue_first:
        first_layer, (kernel, *others) = pairs[0]
        pairs[0] = (first_layer, [kernel[:, :, ::-1], *others])
    for layer, arrays in pairs:
        layer.set_weights(arrays)


def _read(path: Path, model: keras.Model) -> list[StoredLayer]:
    try:
        with h5py.File(path) as file:
            if "layer_names" in file.attrs:
                return _read_old_format(file)
            return _read_new_format(file, model)
    # TypeError: an array where there should be a group
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no readable weights file ({str(error)[:80]}); download it again."
        ) from error


def _read_old_format(file: h5py.File) -> list[StoredLayer]:
    """Return the layers with weights in the order of the network."""
    stored = []
    for layer_name in file.attrs["layer_names"]:
        group = file[_decode(layer_name)]
        weight_names = group.attrs["weight_names"]
        if len(weight_names):
            arrays = [np.asarray(group[_decode(name)]) for name in weight_names]
            stored.append((_decode(layer_name), arrays))
    return stored


def _read_new_format(file: h5py.File, model: keras.Model) -> list[StoredLayer]:
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
            stored.append((layer.name, _read_variables(groups[group_name])))
    extra = {}
    for group_name in groups:
        if group_name not in read:
            arrays = _read_variables(groups[group_name])
            if arrays:
                extra[group_name] = arrays
    for group_name, arrays in extra.items():
        # Keras' classifiers are dense layers, or one convolution in MobileNet
        is_classifier = group_name.startswith("dense") or len(extra) == 1
        stored.append(("predictions" if is_classifier else group_name, arrays))
    return stored


def _read_variables(group: h5py.Group) -> list[np.ndarray]:
    if not isinstance(group, h5py.Group):
        raise KeyError("a layer is no group")
    count = len(group.get("vars", ()))
    return [np.asarray(group["vars"][str(number)]) for number in range(count)]


def _match_layers(
    targets: list[Any], stored: list[StoredLayer], complaint: str
) -> list[tuple[Any, list[np.ndarray]]]:
    """Return each layer with its arrays: features by their order, those in `TOP` by name."""
    body = [layer for layer in targets if layer.name not in TOP]
    stored_body = []
    stored_top = {}
    for name, arrays in stored:
        if name in TOP:
            stored_top[name] = arrays
        else:
            stored_body.append((name, arrays))
    pairs = []
    for layer, (name, arrays) in zip(body, stored_body, strict=False):
        _check_fit(layer, name, arrays, complaint)
        pairs.append((layer, arrays))
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


def _check_fit(layer: Any, name: str, arrays: list[np.ndarray], complaint: str) -> None:
    needed = [tuple(weight.shape) for weight in layer.weights]
    shapes = [array.shape for array in arrays]
    if shapes == needed and all(array.dtype.kind == "f" for array in arrays):
        return
    dtypes = ", ".join(sorted({str(array.dtype) for array in arrays}))
    raise ValueError(
        f"{complaint}: its layer {name!r} has weights {shapes} of {dtypes}, "
        f"ours, {layer.name!r}, needs {needed} of floats."
    )


def _decode(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
