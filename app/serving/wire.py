"""TensorFlow Serving's JSON: requests to arrays, arrays to replies, and its words for what is wrong. No TensorFlow.

The source is that server's own code (`util/json_tensor.cc`): where its documentation differs, the code counts. Stricter
in one place: integers outside their type's range are refused instead of wrapped.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

_CUT = 256  # characters of a value that an error quotes
_ELEMENTS = 4_000_000  # of a request: what JSON makes of them takes sixty times the memory
_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_TYPES = {
    str: "String",
    bool: "Bool",
    int: "Number",
    float: "Number",
    list: "Array",
    dict: "Object",
    type(None): "Null",
}


class BadRequest(ValueError):
    """What the client sent cannot be answered; the text is the reply's."""


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
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:  # or NaN, or something after it
        value = _lenient(body)
    if not isinstance(value, dict):
        raise BadRequest(f"JSON Value: {quoted(value)} Is not object")
    return value


def _lenient(body: bytes) -> Any:
    try:
        text = body.decode()
        start = len(text) - len(text.lstrip(" \t\r\n"))
        return json.JSONDecoder().raw_decode(text, start)[0]
    except UnicodeDecodeError as error:
        raise BadRequest(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    except json.JSONDecodeError as error:
        empty = not body.strip()
        detail = "The document is empty" if empty else f"Invalid value. at offset: {error.pos}"
        raise BadRequest(f"JSON Parse error: {detail}") from error
    except RecursionError as error:
        raise BadRequest("JSON Parse error: nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise BadRequest(f"JSON Parse error: {str(error)[:100]}") from error


def predict(value: Mapping[str, Any], signatures: Mapping[str, Mapping[str, Field]]) -> Predict:
    """What a predict request asks for; `signatures` has the inputs of each.

    Raises:
        BadRequest: in TensorFlow Serving's words.
    """
    name = value.get("signature_name", "serving_default")
    if not isinstance(name, str):
        raise BadRequest(f"JSON Value: {quoted(value)} 'signature_name' key must be a string value.")
    if name not in signatures:
        raise BadRequest(f'Serving signature name: "{name}" not found in signature def')
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
    named = isinstance(rows[0], dict) and not is_bytes(rows[0])
    if not named:
        if len(fields) != 1:
            raise BadRequest(f"Expecting each instance to be an object with the keys: {', '.join(sorted(fields))}")
        return {name: _array(rows, field, rows=True) for name, field in fields.items()}
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != set(fields):
            keys = ", ".join(sorted(fields))
            raise BadRequest(f"Failed to process element: {i} of 'instances' list. Error: expecting the keys: {keys}")
    return {name: _array([row[name] for row in rows], field, rows=True) for name, field in fields.items()}


def _columns(given: Any, fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    if isinstance(given, dict) and not is_bytes(given):
        for name in fields:
            if name not in given:
                raise BadRequest(f"Missing named input: {name} in 'inputs' object.")
        return {name: _array(given[name], field, rows=False) for name, field in fields.items()}
    if len(fields) != 1:
        raise BadRequest(f"Missing named input: {min(fields)} in 'inputs' object.")
    return {name: _array(given, field, rows=False) for name, field in fields.items()}


def _array(values: Any, field: Field, *, rows: bool) -> np.ndarray:
    """The tensor that nested lists are; of bytes, the strings or base64 objects in them."""
    found = _strings(values) if field.dtype == "object" else _numbers(values, field.dtype, rows)
    _check_shape(found.shape, field.shape)
    return found


def _strings(values: Any) -> np.ndarray:
    found = np.array(bytes_of(values), dtype=object)
    if any(isinstance(one, list) for one in found.reshape(-1)):
        raise BadRequest(_ragged(values))
    return found


def _numbers(values: Any, dtype: str, rows: bool) -> np.ndarray:
    _check_leaves(values, dtype, rows)
    try:
        found = np.array(values)
    except ValueError as error:
        raise BadRequest(_ragged(values)) from error
    wanted = np.dtype(dtype)
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if found.size and (found.dtype == object or found.min() < limits.min or found.max() > limits.max):
            raise BadRequest(f"expecting integers from {limits.min} to {limits.max} for type: {dtype}")
    return found.astype(wanted)


def _check_leaves(values: Any, dtype: str, rows: bool) -> None:
    """Raises BadRequest for the first value of another type; integers are numbers, 1.0 is no integer."""
    kinds: tuple[type, ...] = {"b": (bool,), "i": (int,), "u": (int,)}.get(np.dtype(dtype).kind, (int, float))
    for i, value in enumerate(values) if rows else [(None, values)]:
        wrong = _first_wrong(value, kinds)
        if wrong is not _FINE:
            known = {bool: "bool", int: "int", float: "float"}[kinds[-1]]
            what = f"JSON Value: {quoted(wrong)} Type: {_TYPES[type(wrong)]} is not of expected type: {known}"
            where = (
                "" if i is None else f"Failed to process element: {i} of 'instances' list. Error: INVALID_ARGUMENT: "
            )
            raise BadRequest(where + what)


_FINE = object()


def _first_wrong(value: Any, kinds: tuple[type, ...]) -> Any:
    """The first leaf that is of no such type (True is no integer); `_FINE` where there is none."""
    if type(value) is not list:
        return _FINE if type(value) in kinds else value
    if {*map(type, value)} <= set(kinds):
        return _FINE
    return next((wrong for one in value if (wrong := _first_wrong(one, kinds)) is not _FINE), _FINE)


def _ragged(values: Any) -> str:
    """What is wrong with lists of unequal lengths."""
    lengths = [len(one) if isinstance(one, list) else 0 for one in values]
    other = next((n for n in lengths if n != lengths[0]), None)
    if other is not None:
        return f"Expecting tensor size: {lengths[0]} but got: {other}"
    return next((_ragged(one) for one in values if isinstance(one, list) and not _is_even(one)), "Ragged tensor")


def _is_even(values: list[Any]) -> bool:
    try:
        np.array(values)
    except ValueError:
        return False
    return True


def _check_shape(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
    fits = len(shape) == len(wanted) and all(b in (None, a) for a, b in zip(shape, wanted, strict=True))
    if not fits:
        said = ",".join("?" if size is None else str(size) for size in wanted)
        raise BadRequest(f"Expecting shape [{said}] but got: [{','.join(map(str, shape))}]")


def is_bytes(value: Any) -> bool:
    """Whether a value stands for bytes."""
    return isinstance(value, dict) and set(value) == {"b64"}


def bytes_of(value: Any) -> Any:
    """The bytes that texts and base64 objects, in lists or not, stand for."""
    if isinstance(value, list):
        return [bytes_of(one) for one in value]
    if isinstance(value, str):
        return value.encode()
    if is_bytes(value):
        return from_base64(value["b64"])
    raise BadRequest(f"JSON Value: {quoted(value)} Type: {_TYPES[type(value)]} is not of expected type: string")


def from_base64(text: Any) -> bytes:
    """The bytes that a base64 text stands for.

    Raises:
        BadRequest: when it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadRequest("Unable to base64 decode") from error


def reply(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """A predict reply: `predictions`, an object or value a row, or `outputs`, an array each."""
    found = {name: plain(name, array) for name, array in outputs.items()}
    value: Any = next(iter(found.values())) if len(found) == 1 else found
    if rows and len(found) > 1:
        value = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return encode({"predictions" if rows else "outputs": value}, finite=all_finite(outputs))


def plain(name: str, array: np.ndarray) -> Any:
    """An output as `encode` takes it."""
    return _texts(array.tolist(), encoded=name.endswith("_bytes")) if array.dtype.kind in "OS" else array


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
    return np.asarray(array).astype(str).astype(np.float64).tolist() if array.dtype == np.float32 else array.tolist()


def _texts(value: Any, *, encoded: bool) -> Any:
    if isinstance(value, list):
        return [_texts(one, encoded=encoded) for one in value]
    return {"b64": base64.b64encode(value).decode()} if encoded else value.decode("utf-8", "replace")


def quoted(value: Any) -> str:
    """The beginning of a value, as an error shows it; no more of it is written out."""
    text = ""
    for part in _WRITTEN.iterencode(value):
        text += part[:_CUT]
        if len(text) >= _CUT:
            break
    return text[:_CUT]
