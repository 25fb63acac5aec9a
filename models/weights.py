"""Weights files of `keras.applications`, from disk into the same network of the zoo."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from epochal.models.applications import kind_name
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.zoo import ZOO

TOP = (
    "fc1",
    "fc2",
    "predictions",
    "conv_preds",
)  # what the networks of Keras end with; ours end otherwise
Stored = tuple[str, list[np.ndarray]]  # a layer's name in the file, and its weights


def load(model: keras.Model, path: Path) -> None:
    """Fills a model of the zoo, its logits apart, from a file that `keras.applications` offers or its models saved.

    Files with and without the classifier fit, in Keras' old format (`layer_names`) and its new one (`.weights.h5`).
    Nothing is changed unless everything fits. A network whose file expects blue first gets its first kernel turned
    round, so that it goes on to read red first.

    Raises:
        ValueError: the network is not from `keras.applications`, or the file is damaged or of another network.
    """
    row = ZOO[model.name]
    if row.colours is None:
        has = ", ".join(name for name, other in ZOO.items() if other.colours)
        raise ValueError(
            f"{model.name} is no network of keras.applications, whose files fit {has}."
        )
    targets = [layer for layer in model.layers if layer.weights and layer.name != "logits"]
    try:
        with h5py.File(path) as file:
            stored = list(_old(file) if "layer_names" in file.attrs else _new(file, model))
    except (
        OSError,
        KeyError,
        TypeError,
    ) as error:  # the last: an array where there should be a group
        raise ValueError(
            f"{path} is no readable weights file ({str(error)[:80]}); download it again."
        ) from error
    pairs = _matched(targets, stored, f"{path} does not fit {model.name}")
    if row.colours.blue_first:
        kernel, *rest = pairs[0][1]
        pairs[0] = (pairs[0][0], [kernel[:, :, ::-1], *rest])
    for layer, arrays in pairs:
        layer.set_weights(arrays)


def _old(file: h5py.File) -> Iterator[Stored]:
    """Layers with weights in the order of the network."""
    for name in (_text(name) for name in file.attrs["layer_names"]):
        if len(names := file[name].attrs["weight_names"]):
            yield name, [np.asarray(file[name][_text(weight)]) for weight in names]


def _new(file: h5py.File, model: keras.Model) -> Iterator[Stored]:
    """Layers with weights in the order of our network and under its names, then those that it lacks.

    Keras calls a layer by its kind and number there, so that only a network of the same kinds tells the order.
    """
    groups = file["layers"]
    seen = Counter[str]()
    told = set()
    for layer in model.layers:
        kind = kind_name(
            keras.layers.BatchNormalization
            if isinstance(layer, FusedBatchNormalization)
            else type(layer)
        )
        name = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
        if layer.weights and layer.name != "logits" and name in groups:
            told.add(name)
            yield layer.name, _variables(groups[name])
    rest = {
        name: arrays for name in groups if name not in told and (arrays := _variables(groups[name]))
    }
    for (
        name,
        arrays,
    ) in rest.items():  # Keras' classifiers are dense layers, or one convolution in MobileNet
        yield ("predictions" if name.startswith("dense") or len(rest) == 1 else name), arrays


def _variables(group: h5py.Group) -> list[np.ndarray]:
    if not isinstance(group, h5py.Group):
        raise KeyError("a layer is no group")
    return [np.asarray(group["vars"][str(i)]) for i in range(len(group.get("vars", ())))]


def _matched(
    targets: list[Any], stored: list[Stored], wrong: str
) -> list[tuple[Any, list[np.ndarray]]]:
    body = [one for one in stored if one[0] not in TOP]
    top = dict(one for one in stored if one[0] in TOP)
    own = [layer for layer in targets if layer.name not in TOP]
    for layer, (name, arrays) in zip(own, body, strict=False):
        _compare(layer, name, arrays, wrong)
    if len(body) != len(own):
        extra = body[len(own)][0] if len(body) > len(own) else own[len(body)].name
        where = "only the file" if len(body) > len(own) else "only the network"
        raise ValueError(f"{wrong}: {where} has a layer {extra!r}; is it of another network?")
    pairs = [(layer, arrays) for layer, (_, arrays) in zip(own, body, strict=True)]
    for layer in targets:
        if layer.name in top:
            _compare(layer, layer.name, top[layer.name], wrong)
            pairs.append((layer, top[layer.name]))
    return pairs


def _compare(layer: Any, name: str, arrays: list[np.ndarray], wrong: str) -> None:
    needed = [tuple(weight.shape) for weight in layer.weights]
    found = [array.shape for array in arrays]
    kinds = sorted({str(array.dtype) for array in arrays})
    if needed != found or any(array.dtype.kind != "f" for array in arrays):
        its = f"its layer {name!r} has weights {found} of {', '.join(kinds)}"
        raise ValueError(f"{wrong}: {its}, ours, {layer.name!r}, needs {needed} of floats.")


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
