"""The Open Inference Protocol, version 2: its paths, requests and replies. No TensorFlow."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import numpy as np

from epochal.app.serving.tensor_errors import (
    BadRequest,
    decode_base64,
    json_types,
    quote,
    shape_text,
)
from epochal.app.serving.wire import Field, all_finite, encode

SERVER = {"name": "epochal", "version": "2", "extensions": []}
_DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "object": "BYTES",
}
_PATH = re.compile(
    r"/v2(?:/health/(?P<health>live|ready)"
    r"|/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d{1,19}))?(?:/(?P<action>ready|infer))?)?/?"
)


@dataclass(frozen=True)
class Route:
    """A path of the protocol.

    Attributes:
        target: server, live, ready, model or infer.
        version: of the model, None for the one that answers.
    """

    target: str
    version: int | None = None


@dataclass(frozen=True)
class InferRequest:
    """An infer request: its signature, arrays by name, identifier, outputs (all where empty)."""

    signature: str
    arrays: dict[str, np.ndarray]
    id: str | None = None
    outputs: list[str] = field(default_factory=list)


def parse_path(method: str, path: str, model: str) -> Route:
    """Return the route of a request for `model`, the one that this server has.

    Raises:
        BadRequest: the path is none of the protocol's.
        LookupError: it is of another model.
    """
    malformed = f"Malformed request: {method} {path}"
    match = _PATH.fullmatch(path)
    if match is None:
        raise BadRequest(malformed)
    target = match["health"] or match["action"]
    if target is None:
        target = "server"
        if match["name"]:
            target = "model"
    expected_method = "GET"
    if target == "infer":
        expected_method = "POST"
    if method != expected_method:
        raise BadRequest(malformed)
    if match["name"] is not None:
        name = unquote(match["name"])
        if name != model:
            raise LookupError(f"unknown model {name[:64]}; this server has {model}")
    version = None
    if match["version"]:
        version = int(match["version"])
    return Route(target, version)


def parse_infer(value: Mapping[str, Any], signatures: Mapping[str, Any]) -> InferRequest:
    """Return the infer request that a JSON object is.

    Its `parameters.signature_name` chooses the signature, else the types of its inputs do.

    Raises:
        BadRequest: naming what is missing or of another type or shape.
    """
    if not value.get("inputs") or not _is_list_of_objects(value["inputs"]):
        expected = "a list of objects with name, shape, datatype and data"
        raise BadRequest(f"expecting 'inputs' to be {expected}")
    inputs = {str(tensor.get("name")): tensor for tensor in value["inputs"]}
    name = _choose_signature(value, inputs, signatures)
    signature = signatures[name]
    if set(inputs) != set(signature.inputs):
        expected = ", ".join(sorted(signature.inputs))
        received = ", ".join(sorted(inputs))
        raise BadRequest(f"expecting the inputs {expected}, got {received}")
    arrays = {}
    for key, input_field in signature.inputs.items():
        arrays[key] = _parse_tensor(inputs[key], input_field)
    outputs = _parse_outputs(value, signature)
    identifier = value.get("id")
    if not isinstance(identifier, str):
        identifier = None
    return InferRequest(name, arrays, identifier, outputs)


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _parse_outputs(value: Mapping[str, Any], signature: Any) -> list[str]:
    outputs = value.get("outputs") or []
    if not _is_list_of_objects(outputs):
        raise BadRequest("expecting 'outputs' to be a list of objects with name")
    names = []
    for output in outputs:
        name = str(output.get("name"))
        if name not in signature.outputs:
            raise BadRequest(f"unknown output {name}; there are: {', '.join(signature.outputs)}")
        names.append(name)
    return names


def _choose_signature(
    value: Mapping[str, Any], inputs: Mapping[str, Any], signatures: Mapping[str, Any]
) -> str:
    known = ", ".join(signatures)
    parameters = value.get("parameters")
    choice = None
    if isinstance(parameters, dict):
        choice = parameters.get("signature_name")
    if choice is not None:
        if not isinstance(choice, str) or choice not in signatures:
            raise BadRequest(f"unknown signature {quote(choice)}; there are: {known}")
        return choice
    datatypes = {name: tensor.get("datatype") for name, tensor in inputs.items()}
    for name, signature in signatures.items():
        expected = {key: _DATATYPES.get(spec.dtype) for key, spec in signature.inputs.items()}
        if datatypes == expected:
            return str(name)
    if "serving_default" not in signatures:
        raise BadRequest(f"expecting parameters.signature_name, one of: {known}")
    return "serving_default"


def _parse_tensor(tensor: Mapping[str, Any], expected: Field) -> np.ndarray:
    """Return the array of an input's object with name, shape, datatype and data."""
    place = f"input {tensor.get('name')}"
    datatype = tensor.get("datatype")
    data = tensor.get("data")
    expected_datatype = _DATATYPES[expected.dtype]
    if datatype != expected_datatype:
        problem = f"expecting the datatype {expected_datatype}, got {datatype}"
        raise BadRequest(f"{place}: {problem}")
    shape = _parse_shape(tensor.get("shape"), place)
    if not isinstance(data, list):
        raise BadRequest(f"{place}: expecting its data as a list")
    values = _flatten(data)
    if len(values) != math.prod(shape):
        problem = f"needs another number of values than {len(values)}"
        raise BadRequest(f"{place}: shape {quote(shape)} {problem}")
    is_empty = shape[:1] == [0]
    if is_empty or not expected.fits(shape):
        expected_shape = shape_text(
            expected.shape,
            unknown="-1",
            separator=", ",
        )
        problem = f"expecting shape {expected_shape}, of at least one image, got {quote(shape)}"
        raise BadRequest(f"{place}: {problem}")
    array = _to_array(values, expected.dtype, place)
    return array.reshape(shape)


def _parse_shape(value: Any, place: str) -> list[int]:
    problem = f"{place}: expecting a shape of whole numbers, got {quote(value)}"
    if not isinstance(value, list):
        raise BadRequest(problem)
    for size in value:
        if type(size) is not int or not 0 <= size < 2**31:
            raise BadRequest(problem)
    return value


def _flatten(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        values = []
        for items in data:
            if not isinstance(items, list):
                raise BadRequest("expecting data either flat or nested throughout")
            values.extend(items)
        data = values
    return data


def _to_array(values: list[Any], dtype: str, place: str) -> np.ndarray:
    types = set(map(type, values))
    if dtype == "object":
        if not types <= {str}:
            raise BadRequest(f"{place}: expecting base64 texts for BYTES")
        return np.array(list(map(decode_base64, values)), dtype=object)
    if not types <= set(json_types(dtype)):
        expected = "numbers"
        if dtype == "bool":
            expected = "true or false"
        raise BadRequest(f"{place}: expecting {expected} of datatype {_DATATYPES[dtype]}")
    if np.dtype(dtype).kind in "iu" and values:
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise BadRequest(f"{place}: expecting integers from {limits.min} to {limits.max}")
    try:
        return np.array(values, dtype)
    except OverflowError as error:
        raise BadRequest(f"{place}: expecting numbers that fit {_DATATYPES[dtype]}") from error


def format_infer(
    model: str, version: int, request: InferRequest, answer: Mapping[str, np.ndarray]
) -> bytes:
    """Return the reply to an infer request, with the outputs that it names."""
    outputs = []
    for name in request.outputs or list(answer):
        outputs.append(_describe_output(name, answer[name]))
    value: dict[str, Any] = {"model_name": model, "model_version": str(version)}
    if request.id is not None:
        value["id"] = request.id
    value["outputs"] = outputs
    return encode(value, finite=all_finite(answer))


def _describe_output(name: str, array: np.ndarray) -> dict[str, Any]:
    data: Any = array.reshape(-1)
    if array.dtype.kind in "OS":
        datatype = _DATATYPES["object"]
        data = [content.decode("utf-8", "replace") for content in data.tolist()]
    else:
        datatype = _DATATYPES[array.dtype.name]
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": data}


def model_metadata(model: str, loaded: Any) -> dict[str, Any]:
    """Return the model metadata reply: the inputs and outputs of its default signature."""
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        signature = next(iter(loaded.signatures.values()))
    return {
        "name": model,
        "versions": [str(loaded.version)],
        "platform": "tensorflow_savedmodel",
        "inputs": _describe_fields(signature.inputs),
        "outputs": _describe_fields(signature.outputs),
    }


def _describe_fields(fields: Mapping[str, Field]) -> list[dict[str, Any]]:
    described = []
    for name, spec in fields.items():
        shape = [-1 if size is None else size for size in spec.shape]
        described.append({"name": name, "datatype": _DATATYPES[spec.dtype], "shape": shape})
    return described
