"""TensorFlow Serving's JSON: requests to arrays, arrays to replies, errors. No TensorFlow.

The source is that server's own code (`util/json_tensor.cc`): where its documentation differs, the
code counts. Stricter in two places: integers outside their type's range are refused instead of
wrapped, and shapes must be the signature's.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from epochal.app.serving.tensor_errors import (
    BadRequest,
    column_error,
    decode_base64,
    is_base64,
    json_types,
    quote,
    row_error,
    shape_text,
    type_error,
    value_error,
)

# Of a request: what JSON makes of them takes sixty times the memory.
_MOST_ELEMENTS = 4_000_000
_MOST_LEVELS = 64
# What a byte adds to the depth.
_DEPTH_STEPS = np.zeros(256, np.int8)
_DEPTH_STEPS[list(b"[{")] = 1
_DEPTH_STEPS[list(b"]}")] = -1
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SEVERAL_INPUTS = "as multiple input tensors required as per tensorinfo_map"


@dataclass(frozen=True)
class Field:
    """An input or output of a signature.

    Attributes:
        dtype: as NumPy names it; "object" for bytes.
        shape: with None for a dimension of any size.
    """

    dtype: str
    shape: tuple[int | None, ...]

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether an array of `shape` is one of this field."""
        if len(shape) != len(self.shape):
            return False
        for size, expected in zip(shape, self.shape, strict=True):
            if expected is not None and expected != size:
                return False
        return True


@dataclass(frozen=True)
class PredictRequest:
    """A predict request: its signature, its arrays by name, and whether they came in rows."""

    signature: str
    arrays: dict[str, np.ndarray]
    rows: bool


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body begins with; what follows it is ignored.

    Raises:
        BadRequest: it does not begin with one, or is too deep or too large.
    """
    if body.count(b",") > _MOST_ELEMENTS:
        raise BadRequest(f"JSON Parse error: more than {_MOST_ELEMENTS:,} elements")
    if _depth(body) > _MOST_LEVELS:
        # Brackets in texts count for nothing.
        without_texts = _TEXT.sub(b"", body)
        if _depth(without_texts) > _MOST_LEVELS:
            limit = f"more than {_MOST_LEVELS} levels"
            raise BadRequest(f"JSON Parse error: nested too deeply: {limit}")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:  # or NaN, or something after it
        value = _parse_leniently(body)
    if not isinstance(value, dict):
        raise value_error(value, "Is not object")
    return value


def _depth(body: bytes) -> int:
    steps = _DEPTH_STEPS[np.frombuffer(body, np.uint8)]
    depths = np.cumsum(steps, dtype=np.int32)
    return int(depths.max(initial=0))


def _parse_leniently(body: bytes) -> Any:
    try:
        text = body.decode()
        start = len(text) - len(text.lstrip(" \t\r\n"))
        value, _ = json.JSONDecoder().raw_decode(text, start)
        if _SURROGATE.search(text):
            # Half a character cannot be written.
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeError as error:
        place = ""
        if isinstance(error, UnicodeDecodeError):
            place = f" at offset: {error.start}"
        raise BadRequest(f"JSON Parse error: Invalid encoding in string.{place}") from error
    except json.JSONDecodeError as error:
        detail = f"Invalid value. at offset: {error.pos}"
        if not body.strip():
            detail = "The document is empty"
        raise BadRequest(f"JSON Parse error: {detail}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadRequest(f"JSON Parse error: {str(error)[:100]}") from error


def parse_predict(
    value: Mapping[str, Any], signatures: Mapping[str, Mapping[str, Field]]
) -> PredictRequest:
    """Return the predict request that a JSON object is.

    Args:
        value: the object.
        signatures: the inputs of each signature.

    Raises:
        BadRequest: in TensorFlow Serving's words.
    """
    name = value.get("signature_name", "serving_default")
    if not isinstance(name, str):
        problem = "not formatted correctly. 'signature_name' key must be a string value."
        raise value_error(value, problem)
    if name not in signatures:
        problem = f'Serving signature name: "{name[:64]}" not found in signature def'
        known = ", ".join(signatures)
        raise BadRequest(f"{problem}; there are: {known}")
    fields = signatures[name]
    if "instances" in value and "inputs" in value:
        expected = "only one of 'inputs' or 'instances' keys to exist "
        raise value_error(value, f"Not formatted correctly expecting {expected}")
    if "instances" in value:
        arrays = _parse_rows(value, fields)
        return PredictRequest(name, arrays, rows=True)
    if "inputs" in value:
        arrays = _parse_columns(value["inputs"], fields)
        return PredictRequest(name, arrays, rows=False)
    raise BadRequest("Missing 'inputs' or 'instances' key")


def _parse_rows(value: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    rows = value["instances"]
    if not isinstance(rows, list):
        raise value_error(value, "Expecting 'instances' to be an list/array")
    if not rows:
        raise value_error(value, "No values in 'instances' array")
    if isinstance(rows[0], dict) and not is_base64(rows[0]):
        return _parse_objects(rows, fields)
    if not isinstance(rows[0], dict) and len(fields) > 1:
        problem = "instances is a plain list, but expecting list of objects"
        raise BadRequest(f"{problem} {_SEVERAL_INPUTS}")
    for index, row in enumerate(rows):
        if isinstance(row, dict) and not is_base64(row):
            raise BadRequest(f"Expecting value/list but got object at item {index} of input list")
    arrays = {}
    for name, field in fields.items():
        arrays[name] = _parse_array(rows, field, rows=True)
    return arrays


def _parse_objects(rows: list[Any], fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    names = set(fields)
    for index, row in enumerate(rows):
        _check_keys(index, row, names)
    arrays = {}
    for name, field in fields.items():
        values = [row[name] for row in rows]
        arrays[name] = _parse_array(values, field, rows=True, key=name)
    return arrays


def _check_keys(index: int, row: Any, expected: set[str]) -> None:
    if not isinstance(row, dict) or is_base64(row):
        raise BadRequest(f"Expecting object but got list at item {index} of input list")
    place = f"Failed to process element: {index}"
    for name in row:
        if name not in expected:
            problem = f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            raise BadRequest(f"{place} key: {name} of 'instances' list. {problem}")
    if set(row) != expected:
        keys = ",".join(sorted(expected))
        problem = f"JSON object: {quote(row)} keys must be equal to: {keys}"
        raise BadRequest(f"{place} of 'instances' list. {problem}")


def _parse_columns(inputs: Any, fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    arrays = {}
    if isinstance(inputs, dict) and not is_base64(inputs):
        for name in fields:
            if name not in inputs:
                raise BadRequest(f"Missing named input: {name} in 'inputs' object.")
        for name, field in fields.items():
            arrays[name] = _parse_array(inputs[name], field, rows=False)
        return arrays
    if len(fields) != 1:
        problem = "inputs is a plain value/list, but expecting an object"
        raise BadRequest(f"{problem} {_SEVERAL_INPUTS}")
    for name, field in fields.items():
        arrays[name] = _parse_array(inputs, field, rows=False)
    return arrays


def _parse_array(values: Any, field: Field, *, rows: bool, key: str | None = None) -> np.ndarray:
    """Return the tensor that nested lists are; of bytes, the strings or base64 objects in them."""
    try:
        if field.dtype == "object":
            array = _parse_strings(values)
        else:
            array = _parse_numbers(values, field.dtype)
    except (ValueError, OverflowError) as error:
        if rows:
            raise row_error(values, field.dtype, key) from error
        raise column_error(values, field.dtype) from error
    if np.dtype(field.dtype).kind in "iu":
        array = _to_integers(array, field.dtype)
    if not field.fits(array.shape):
        shapes = f"{shape_text(field.shape)} but got: {shape_text(array.shape)}"
        raise BadRequest(f"Expecting shape {shapes}")
    return array


def _parse_strings(values: Any) -> np.ndarray:
    array = np.array(to_bytes(values), dtype=object)
    for item in array.reshape(-1):
        if isinstance(item, list):
            raise ValueError("lists of unequal lengths")
    return array


def _parse_numbers(values: Any, dtype: str) -> np.ndarray:
    """Return integers as they come, all else as the type.

    Raises:
        ValueError: a value is of another type, or lists are of unequal lengths.
        OverflowError: a number is beyond the type's.
    """
    if not _has_types(values, set(json_types(dtype))):
        raise ValueError("a value of another type")
    array = np.array(values)
    if np.dtype(dtype).kind in "iu":
        return array
    with np.errstate(over="ignore"):
        converted = array.astype(dtype)
    if converted.dtype.kind == "f":
        has_overflown = np.isinf(converted) & np.isfinite(array)
        if has_overflown.any():
            raise OverflowError("a number beyond the type's")
    return converted


def _to_integers(array: np.ndarray, dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    if array.size:
        # What NumPy makes decimals or objects of is beyond 64 bits.
        is_integer = array.dtype.kind in "iu"
        if not is_integer or array.min() < limits.min or array.max() > limits.max:
            text = f"expecting integers from {limits.min} to {limits.max} for type: {dtype}"
            raise BadRequest(text)
    return array.astype(dtype)


def _has_types(value: Any, types: set[type]) -> bool:
    """Return whether every leaf of nested lists is of these very types: True is no integer."""
    if type(value) is not list:
        return type(value) in types
    if {*map(type, value)} <= types:
        return True
    return all(_has_types(item, types) for item in value)


def to_bytes(value: Any) -> Any:
    """Return the bytes that texts and base64 objects, in lists or not, stand for.

    Raises:
        BadRequest: a value is neither.
    """
    if isinstance(value, list):
        return [to_bytes(item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if is_base64(value):
        return decode_base64(value["b64"])
    raise type_error(value, "object")


def format_predict(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """Return a predict reply: `predictions`, an object or value a row, or `outputs` as arrays."""
    columns = {name: to_encodable(name, array) for name, array in outputs.items()}
    value: Any = columns
    if len(columns) == 1:
        (value,) = columns.values()
    elif rows and columns:
        value = []
        for row in zip(*columns.values(), strict=True):
            value.append(dict(zip(columns, row, strict=True)))
    key = "outputs"
    if rows:
        key = "predictions"
    return encode({key: value}, finite=all_finite(outputs))


def to_encodable(name: str, array: np.ndarray) -> Any:
    """Return an output as `encode` takes it: bytes as texts, or base64 if named ..._bytes."""
    if array.dtype.kind in "OS":
        return _to_texts(array.tolist(), as_base64=name.endswith("_bytes"))
    return array


def all_finite(outputs: Mapping[str, np.ndarray]) -> bool:
    """Return whether there is neither infinity nor NaN, which JSON proper does not know."""
    for array in outputs.values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
    return True


def encode(value: Any, *, finite: bool = True) -> bytes:
    """Return JSON of plain values and arrays; float32 as the shortest decimal that is this float32.

    orjson takes a fifteenth of the time of Python's own, but writes null for what is not finite.
    """
    if finite:
        return orjson.dumps(
            value,
            option=orjson.OPT_SERIALIZE_NUMPY,
            default=_to_lists,
        )
    return json.dumps(
        value,
        ensure_ascii=False,
        default=_to_lists,
    ).encode()


def _to_lists(array: Any) -> Any:
    """Return an array, or one number of it, as lists."""
    if array.dtype == np.float32:
        return np.asarray(array).astype(str).astype(np.float64).tolist()
    return array.tolist()


def _to_texts(value: Any, *, as_base64: bool) -> Any:
    if isinstance(value, list):
        return [_to_texts(item, as_base64=as_base64) for item in value]
    if as_base64:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "replace")
