"""The Open Inference Protocol, version 2: its paths, requests and replies. No TensorFlow."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np

from epochal.app.serving.tensor_errors import BadRequest, from_base64, leaves, quoted
from epochal.app.serving.wire import Field, all_finite, encode

SERVER = {"name": "epochal", "version": "2", "extensions": []}
_KINDS = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
    "object": "BYTES",
}  # fmt: skip
_PATH = re.compile(
    r"/v2(?:/health/(?P<health>live|ready)|/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d{1,19}))?"
    r"(?:/(?P<what>ready|infer))?)?/?"
)


@dataclass(frozen=True)
class Route:
    """What a path asks for: server, live, ready, model or infer; of which version."""

    what: str
    version: int | None = None


@dataclass(frozen=True)
class Infer:
    """An infer request: its signature, arrays, identifier, and the outputs that are wanted (all where empty)."""

    signature: str
    arrays: dict[str, np.ndarray]
    id: str | None = None
    outputs: list[str] = field(default_factory=list)


def route(method: str, path: str, model: str) -> Route:
    """What a path asks for.

    Raises:
        BadRequest: it is none of the protocol's.
        LookupError: it is of another model.
    """
    match = _PATH.fullmatch(path)
    what = (
        None
        if match is None
        else match["health"] or match["what"] or ("model" if match["name"] else "server")
    )
    if (
        match is None
        or what is None
        or (what == "infer") != (method == "POST")
        or method not in ("GET", "POST")
    ):
        raise BadRequest(f"Malformed request: {method} {path}")
    if match["name"] is not None and unquote(match["name"]) != model:
        raise LookupError(f"unknown model {unquote(match['name'])[:64]}; this server has {model}")
    return Route(what, int(match["version"]) if match["version"] else None)


def request(value: Mapping[str, Any], signatures: Mapping[str, Any]) -> Infer:
    """What an infer request asks for; `parameters.signature_name` chooses the signature, else its inputs' types do.

    Raises:
        BadRequest: naming what is missing or of another type or shape.
    """
    inputs = value.get("inputs")
    if (
        not isinstance(inputs, list)
        or not inputs
        or not all(isinstance(one, dict) for one in inputs)
    ):
        raise BadRequest(
            "expecting 'inputs' to be a list of objects with name, shape, datatype and data"
        )
    given = {str(one.get("name")): one for one in inputs}
    signature = _chosen(value, given, signatures)
    fields = signatures[signature].inputs
    if set(given) != set(fields):
        raise BadRequest(
            f"expecting the inputs {', '.join(sorted(fields))}, got {', '.join(sorted(given))}"
        )
    arrays = {name: _array(given[name], one) for name, one in fields.items()}
    outputs = value.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(one, dict) for one in outputs):
        raise BadRequest("expecting 'outputs' to be a list of objects with name")
    wanted = [str(one.get("name")) for one in outputs]
    unknown = [name for name in wanted if name not in signatures[signature].outputs]
    if unknown:
        raise BadRequest(
            f"unknown output {unknown[0]}; there are: {', '.join(signatures[signature].outputs)}"
        )
    identifier = value.get("id")
    return Infer(signature, arrays, identifier if isinstance(identifier, str) else None, wanted)


def _chosen(
    value: Mapping[str, Any], given: Mapping[str, Any], signatures: Mapping[str, Any]
) -> str:
    parameters = value.get("parameters")
    named = parameters.get("signature_name") if isinstance(parameters, dict) else None
    if named is not None:
        if not isinstance(named, str) or named not in signatures:
            raise BadRequest(
                f"unknown signature {quoted(named)}; there are: {', '.join(signatures)}"
            )
        return str(named)
    types = {name: one.get("datatype") for name, one in given.items()}
    for name, signature in signatures.items():
        if types == {key: _KINDS.get(one.dtype) for key, one in signature.inputs.items()}:
            return str(name)
    if "serving_default" not in signatures:
        raise BadRequest(f"expecting parameters.signature_name, one of: {', '.join(signatures)}")
    return "serving_default"


def _array(given: Mapping[str, Any], wanted: Field) -> np.ndarray:
    name = given.get("name")
    shape = given.get("shape")
    data = given.get("data")
    if given.get("datatype") != _KINDS[wanted.dtype]:
        raise BadRequest(
            f"input {name}: expecting the datatype {_KINDS[wanted.dtype]}, got {given.get('datatype')}"
        )
    if not isinstance(shape, list) or not all(
        type(size) is int and 0 <= size < 2**31 for size in shape
    ):
        raise BadRequest(f"input {name}: expecting a shape of whole numbers, got {quoted(shape)}")
    if not isinstance(data, list):
        raise BadRequest(f"input {name}: expecting its data as a list")
    flat = _flat(data)
    if len(flat) != int(np.prod(shape, dtype=object)):
        raise BadRequest(
            f"input {name}: shape {quoted(shape)} needs another number of values than {len(flat)}"
        )
    fits = len(shape) == len(wanted.shape) and all(
        b in (None, a) for a, b in zip(shape, wanted.shape, strict=True)
    )
    if not fits or shape[:1] == [0]:
        said = ", ".join("-1" if size is None else str(size) for size in wanted.shape)
        raise BadRequest(
            f"input {name}: expecting shape [{said}], of at least one image, got {quoted(shape)}"
        )
    return _typed(flat, wanted.dtype, str(name)).reshape(shape)


def _flat(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        if not all(isinstance(one, list) for one in data):
            raise BadRequest("expecting data either flat or nested throughout")
        data = [value for one in data for value in one]
    return data


def _typed(flat: list[Any], dtype: str, name: str) -> np.ndarray:
    if dtype == "object":
        if not all(isinstance(one, str) for one in flat):
            raise BadRequest(f"input {name}: expecting base64 texts for BYTES")
        return np.array([from_base64(one) for one in flat], dtype=object)
    if not {*map(type, flat)} <= set(leaves(dtype)):
        what = "true or false" if dtype == "bool" else "numbers"
        raise BadRequest(f"input {name}: expecting {what} of datatype {_KINDS[dtype]}")
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        if flat and not limits.min <= min(flat) <= max(flat) <= limits.max:
            raise BadRequest(f"input {name}: expecting integers from {limits.min} to {limits.max}")
    try:
        return np.array(flat, dtype)
    except OverflowError as error:
        raise BadRequest(f"input {name}: expecting numbers that fit {_KINDS[dtype]}") from error


def reply(model: str, version: int, asked: Infer, answer: Mapping[str, np.ndarray]) -> bytes:
    """The reply to an infer request."""
    names = asked.outputs or list(answer)
    outputs = [
        {
            "name": name,
            "shape": list(answer[name].shape),
            "datatype": _kind(answer[name]),
            "data": _data(answer[name]),
        }
        for name in names
    ]
    more = {"id": asked.id} if asked.id is not None else {}
    value = {"model_name": model, "model_version": str(version), **more, "outputs": outputs}
    return encode(value, finite=all_finite(answer))


def _kind(array: np.ndarray) -> str:
    return _KINDS["object" if array.dtype.kind in "OS" else array.dtype.name]


def _data(array: np.ndarray) -> Any:
    flat = array.reshape(-1)
    return (
        [one.decode("utf-8", "replace") for one in flat.tolist()]
        if array.dtype.kind in "OS"
        else flat
    )


def metadata(model: str, loaded: Any) -> dict[str, Any]:
    """The model metadata reply: the inputs and outputs of its default signature."""
    signature = loaded.signatures.get("serving_default") or next(iter(loaded.signatures.values()))
    return {
        "name": model,
        "versions": [str(loaded.version)],
        "platform": "tensorflow_savedmodel",
        "inputs": [_described(name, one) for name, one in signature.inputs.items()],
        "outputs": [_described(name, one) for name, one in signature.outputs.items()],
    }


def _described(name: str, one: Field) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": _KINDS[one.dtype],
        "shape": [-1 if n is None else n for n in one.shape],
    }
