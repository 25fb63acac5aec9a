"""TensorFlow Serving's JSON: requests to arrays, arrays to replies, and its words for what is wrong. No TensorFlow.

The source is that server's own code (`util/json_tensor.cc`): where its documentation differs, the code counts. Stricter
in two places: integers outside their type's range are refused instead of wrapped, and shapes must be the signature's.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from epochal.app.serving.tensor_errors import (
    BadRequest,
    about_column,
    about_rows,
    from_base64,
    is_bytes,
    leaves,
    not_of_type,
    quoted,
)

_ELEMENTS = 4_000_000  # of a request: what JSON makes of them takes sixty times the memory
_DEEPEST = 64
_STEP = np.zeros(256, np.int8)  # what a byte adds to the depth
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SEVERAL = "{}, but expecting {} as multiple input tensors required as per tensorinfo_map"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Field:
    """One input or output of a signature: its type as NumPy names it ("object" for bytes), its shape (None: any)."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Predict:
    """A predict request: which signature, its arrays by name, and whether they came in rows."""

    signature: str
    arrays: dict[str, np.ndarray]
    rows: bool


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object that a body begins with; what follows it is ignored.

    Raises:
        BadRequest: it does not begin with one, or is too deep or too large.
    """
    if body.count(b",") > _ELEMENTS:
        raise BadRequest(f"JSON Parse error: more than {_ELEMENTS:,} elements")
    if (
        _depth(body) > _DEEPEST and _depth(_TEXT.sub(b"", body)) > _DEEPEST
    ):  # brackets in texts count for nothing
        raise BadRequest(f"JSON Parse error: nested too deeply: more than {_DEEPEST} levels")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:  # or NaN, or something after it
        value = _lenient(body)
    if not isinstance(value, dict):
        raise BadRequest(f"JSON Value: {quoted(value)} Is not object")
    return value


def _depth(body: bytes) -> int:
    return int(np.cumsum(_STEP[np.frombuffer(body, np.uint8)], dtype=np.int32).max(initial=0))


def _lenient(body: bytes) -> Any:
    try:
        text = body.decode()
        start = len(text) - len(text.lstrip(" \t\r\n"))
        value = json.JSONDecoder().raw_decode(text, start)[0]
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be written
        return value
    except UnicodeError as error:
        place = f" at offset: {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise BadRequest(f"JSON Parse error: Invalid encoding in string.{place}") from error
    except json.JSONDecodeError as error:
        empty = not body.strip()
        detail = "The document is empty" if empty else f"Invalid value. at offset: {error.pos}"
        raise BadRequest(f"JSON Parse error: {detail}") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadRequest(f"JSON Parse error: {str(error)[:100]}") from error


def predict(value: Mapping[str, Any], signatures: Mapping[str, Mapping[str, Field]]) -> Predict:
    """What a predict request asks for; `signatures` has the inputs of each.

    Raises:
        BadRequest: in TensorFlow Serving's words.
    """
    name = value.get("signature_name", "serving_default")
    if not isinstance(name, str):
        text = f"JSON Value: {quoted(value)} not formatted correctly."
        raise BadRequest(f"{text} 'signature_name' key must be a string value.")
    if name not in signatures:
        raise BadRequest(
            f'Serving signature name: "{name[:64]}" not found in signature def; there are: {", ".join(signatures)}'
        )
    if "instances" in value and "inputs" in value:
        raise BadRequest(
            f"JSON Value: {quoted(value)} Not formatted correctly expecting only one of 'inputs' or 'instances' keys "
            "to exist "
        )
    if "instances" in value:
        return Predict(name, _rows(value, signatures[name]), rows=True)
    if "inputs" in value:
        return Predict(name, _columns(value["inputs"], signatures[name]), rows=False)
    raise BadRequest("Missing 'inputs' or 'instances' key")


def _rows(value: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    rows = value["instances"]
    if not isinstance(rows, list):
        raise BadRequest(f"JSON Value: {quoted(value)} Expecting 'instances' to be an list/array")
    if not rows:
        raise BadRequest(f"JSON Value: {quoted(value)} No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(fields) > 1:
        raise BadRequest(_SEVERAL.format("instances is a plain list", "list of objects"))
    if not isinstance(rows[0], dict) or is_bytes(rows[0]):
        for i, row in enumerate(rows):
            if isinstance(row, dict) and not is_bytes(row):
                raise BadRequest(f"Expecting value/list but got object at item {i} of input list")
        return {name: _array(rows, field, rows=True) for name, field in fields.items()}
    for i, row in enumerate(rows):
        _check_keys(i, row, set(fields))
    return {
        name: _array([row[name] for row in rows], field, rows=True, key=name)
        for name, field in fields.items()
    }


def _check_keys(i: int, row: Any, wanted: set[str]) -> None:
    if not isinstance(row, dict) or is_bytes(row):
        raise BadRequest(f"Expecting object but got list at item {i} of input list")
    where = f"Failed to process element: {i}"
    for name in row:
        if name not in wanted:
            text = f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {name}"
            raise BadRequest(f"{where} key: {name} of 'instances' list. {text}")
    if set(row) != wanted:
        keys = ",".join(sorted(wanted))
        raise BadRequest(
            f"{where} of 'instances' list. JSON object: {quoted(row)} keys must be equal to: {keys}"
        )


def _columns(given: Any, fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    if isinstance(given, dict) and not is_bytes(given):
        for name in fields:
            if name not in given:
                raise BadRequest(f"Missing named input: {name} in 'inputs' object.")
        return {name: _array(given[name], field, rows=False) for name, field in fields.items()}
    if len(fields) != 1:
        raise BadRequest(_SEVERAL.format("inputs is a plain value/list", "an object"))
    return {name: _array(given, field, rows=False) for name, field in fields.items()}


def _array(values: Any, field: Field, *, rows: bool, key: str | None = None) -> np.ndarray:
    """The tensor that nested lists are; of bytes, the strings or base64 objects in them."""
    try:
        found = _strings(values) if field.dtype == "object" else _numbers(values, field.dtype)
    except (ValueError, OverflowError) as error:
        raise (
            about_rows(values, field.dtype, key) if rows else about_column(values, field.dtype)
        ) from error
    if np.dtype(field.dtype).kind in "iu":
        found = _in_range(found, field.dtype)
    _check_shape(found.shape, field.shape)
    return found


def _strings(values: Any) -> np.ndarray:
    found = np.array(bytes_of(values), dtype=object)
    if any(isinstance(one, list) for one in found.reshape(-1)):
        raise ValueError("lists of unequal lengths")
    return found


def _numbers(values: Any, dtype: str) -> np.ndarray:
    """Integers as they come, all else as the type; ValueError or OverflowError where that cannot be."""
    if not _all_of(values, set(leaves(dtype))):
        raise ValueError("a value of another type")
    found = np.array(values)
    if np.dtype(dtype).kind in "iu":
        return found
    with np.errstate(over="ignore"):
        made = found.astype(dtype)
    if made.dtype.kind == "f" and (np.isinf(made) & np.isfinite(found)).any():
        raise OverflowError("a number beyond the type's")
    return made


def _in_range(found: np.ndarray, dtype: str) -> np.ndarray:
    """Integers as their type; what NumPy makes decimals or objects of is beyond 64 bits."""
    limits = np.iinfo(dtype)
    if found.size and (
        found.dtype.kind not in "iu" or found.min() < limits.min or found.max() > limits.max
    ):
        raise BadRequest(f"expecting integers from {limits.min} to {limits.max} for type: {dtype}")
    return found.astype(dtype)


def _all_of(value: Any, kinds: set[type]) -> bool:
    """Whether every leaf is of these types (True is no integer)."""
    if type(value) is not list:
        return type(value) in kinds
    return {*map(type, value)} <= kinds or all(_all_of(one, kinds) for one in value)


def _check_shape(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    fits = len(shape) == len(wanted) and all(
        b in (None, a) for a, b in zip(shape, wanted, strict=True)
    )
    if not fits:
        said = ",".join("?" if size is None else str(size) for size in wanted)
        raise BadRequest(f"Expecting shape [{said}] but got: [{','.join(map(str, shape))}]")


def bytes_of(value: Any) -> Any:
    """The bytes that texts and base64 objects, in lists or not, stand for."""
    if isinstance(value, list):
        return [bytes_of(one) for one in value]
    if isinstance(value, str):
        return value.encode()
    if is_bytes(value):
        return from_base64(value["b64"])
    raise BadRequest(not_of_type(value, "object"))


def reply(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """A predict reply: `predictions`, an object or value a row, or `outputs`, an array each."""
    found = {name: plain(name, array) for name, array in outputs.items()}
    value: Any = next(iter(found.values())) if len(found) == 1 else found
    if rows and len(found) > 1:
        value = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return encode({"predictions" if rows else "outputs": value}, finite=all_finite(outputs))


def plain(name: str, array: np.ndarray) -> Any:
    """An output as `encode` takes it."""
    return (
        _texts(array.tolist(), encoded=name.endswith("_bytes"))
        if array.dtype.kind in "OS"
        else array
    )


def all_finite(outputs: Mapping[str, np.ndarray]) -> bool:
    """Whether there is neither infinity nor NaN, which JSON proper does not know."""
    return all(np.isfinite(array).all() for array in outputs.values() if array.dtype.kind == "f")


def encode(value: Any, *, finite: bool = True) -> bytes:
    """JSON of plain values and arrays; float32 as the shortest decimal that is this float32.

    orjson takes a fifteenth of the time of Python's own, but writes null for what is not finite.
    """
    if finite:
        return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=_listed)
    return json.dumps(value, ensure_ascii=False, default=_listed).encode()


def _listed(array: Any) -> Any:
    """An array, or one number of it, as lists."""
    return (
        np.asarray(array).astype(str).astype(np.float64).tolist()
        if array.dtype == np.float32
        else array.tolist()
    )


def _texts(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_texts(one, encoded=encoded) for one in value]
    return (
        {"b64": base64.b64encode(value).decode()} if encoded else value.decode("utf-8", "replace")
    )
