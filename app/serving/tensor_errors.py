"""Tensor errors: the first value of a request that does not fit, in TensorFlow Serving's words.

The source is that server's `util/json_tensor.cc`, which takes a request apart value by value and
names the first that does not fit. Arrays are made in one piece here, so its course is walked again
only where that fails.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable
from typing import Any

_LONGEST_URI_HEAD = 500  # characters before the comma of a data URI (RFC 2397)
_QUOTED_CHARACTERS = 256  # of a value, in an error
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_TYPE_NAMES = {
    str: "String",
    int: "Number",
    float: "Number",
    list: "Array",
    dict: "Object",
    type(None): "Null",
}
_NUMBER_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "uint": (int,),
    "float": (int, float),
}
_DTYPE_NAMES = {"object": "string", "float32": "float", "float64": "double", "float16": "half"}


class BadRequest(ValueError):
    """What the client sent cannot be answered; the text is the reply's."""


def value_error(value: Any, problem: str) -> BadRequest:
    """Return the error of a JSON value, which is quoted before what is wrong with it."""
    return BadRequest(_value_text(value, problem))


def _value_text(value: Any, problem: str) -> str:
    return f"JSON Value: {quote(value)} {problem}"


def row_error(rows: list[Any], dtype: str, key: str | None = None) -> BadRequest:
    """Return the error of the first row that is no tensor of the type, or of another shape.

    Args:
        rows: values of `instances`, of which NumPy could make no array.
        dtype: as NumPy names it.
        key: name of the input, where each row was an object.
    """
    key_text = ""
    if key is not None:
        key_text = f" key: {key}"
    first_shape: list[int] | None = None
    for index, row in enumerate(rows):
        shape = _shape(row)
        text = _mismatch(row, dtype, shape)
        if text is None and first_shape is not None and shape != first_shape:
            text = _shape_mismatch(first_shape, shape)
        if text is not None:
            place = f"Failed to process element: {index}{key_text} of 'instances' list."
            return BadRequest(f"{place} Error: INVALID_ARGUMENT: {text}")
        first_shape = shape
    return _range_error(dtype)


def column_error(values: Any, dtype: str) -> BadRequest:
    """Return the error of the first value of one of `inputs` that does not fit."""
    text = _mismatch(values, dtype, _shape(values))
    if text is None:
        return _range_error(dtype)
    return BadRequest(text)


def _range_error(dtype: str) -> BadRequest:
    return BadRequest(f"expecting numbers that fit type: {_dtype_name(dtype)}")


def type_error(value: Any, dtype: str) -> BadRequest:
    """Return the error of a value that is none of `dtype`."""
    return BadRequest(_type_text(value, dtype))


def _type_text(value: Any, dtype: str) -> str:
    type_name = _TYPE_NAMES.get(type(value))
    if type_name is None:
        type_name = str(value)  # True or False
    expected = _dtype_name(dtype)
    return _value_text(value, f"Type: {type_name} is not of expected type: {expected}")


def json_types(dtype: str) -> tuple[type, ...]:
    """Return the types of JSON values that stand for numbers of `dtype`.

    An integer stands for a decimal number too, but 1.0 for no integer.
    """
    return _NUMBER_TYPES[dtype.rstrip("0123456789")]


def is_base64(value: Any) -> bool:
    """Return whether a JSON value is an object that stands for bytes: {"b64": text}."""
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text, which may lack its padding and have white space.

    The text may be a data URI, as browsers make of a file; TensorFlow Serving refuses these.

    Raises:
        BadRequest: it is none.
    """
    if text.lstrip()[:5].lower() == "data:":
        head, comma, _ = text[:_LONGEST_URI_HEAD].partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise BadRequest("Unable to base64 decode: expecting a data URI to say ;base64,")
        text = text[len(head) + 1 :]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        compact = "".join(text.split())
    if "=" not in compact:
        compact += "=" * (-len(compact) % 4)
    try:
        return base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest("Unable to base64 decode") from error


def quote(value: Any) -> str:
    """Return the beginning of a value's JSON, as an error shows it; no more is written out."""
    text = ""
    for part in _ENCODER.iterencode(value):
        text += part[:_QUOTED_CHARACTERS]
        if len(text) >= _QUOTED_CHARACTERS:
            break
    return text[:_QUOTED_CHARACTERS]


def shape_text(shape: Iterable[int | None], unknown: str = "?", separator: str = ",") -> str:
    """Return a shape in brackets, with `unknown` for a dimension of any size."""
    sizes = []
    for size in shape:
        if size is None:
            sizes.append(unknown)
        else:
            sizes.append(str(size))
    return f"[{separator.join(sizes)}]"


def _dtype_name(dtype: str) -> str:
    return _DTYPE_NAMES.get(dtype, dtype)


def _shape(value: Any) -> list[int]:
    """Return the lengths of the lists down the first elements."""
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        if not value:
            break
        value = value[0]
    return sizes


def _shape_mismatch(first: list[int], other: list[int]) -> str:
    first_size = math.prod(first)
    other_size = math.prod(other)
    if first_size != other_size:
        return f"Expecting tensor size: {first_size} but got: {other_size}"
    return f"Expecting shape {shape_text(first)} but got: {shape_text(other)}"


def _mismatch(value: Any, dtype: str, shape: list[int], level: int = 0) -> str | None:
    """Return what is wrong with a tensor of `shape`, at depth `level`; None where nothing is."""
    depth = len(shape)
    if not isinstance(value, list):
        if level == depth:
            return _leaf_mismatch(value, dtype)
        place = f"found at incorrect level: {level + 1} in the JSON DOM."
        return _value_text(value, f"{place} Expected at level: {depth}")
    if level >= depth:
        return f"Encountered list at unexpected level: {level} expected < {depth}"
    if len(value) != shape[level]:
        size = f"{len(value)} at level: {level} expected size: {shape[level]}"
        return f"Encountered list at unexpected size: {size}"
    for item in value:
        text = _mismatch(item, dtype, shape, level + 1)
        if text is not None:
            return text
    return None


def _leaf_mismatch(value: Any, dtype: str) -> str | None:
    if dtype != "object":
        if type(value) in json_types(dtype):
            return None
        return _type_text(value, dtype)
    if isinstance(value, str):
        return None
    if not isinstance(value, dict):
        return _type_text(value, dtype)
    if not is_base64(value):
        return _value_text(value, "not formatted correctly for base64 data")
    try:
        decode_base64(value["b64"])
    except BadRequest as error:
        return str(error)
    return None
