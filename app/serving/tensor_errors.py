"""What is wrong with the tensors of a request, in the words of TensorFlow Serving; asked for only when something is.

The source is that server's `util/json_tensor.cc`, which takes a request apart value by value and names the first that
does not fit. Arrays are made in one piece here, so its course is walked again where that fails.
"""

import base64
import binascii
import json
from typing import Any

_CUT = 256  # characters of a value that an error quotes
_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_KINDS = {
    str: "String",
    int: "Number",
    float: "Number",
    list: "Array",
    dict: "Object",
    type(None): "Null",
}
_LEAVES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "uint": (int,),
    "float": (int, float),
}
_NAMES = {"object": "string", "float32": "float", "float64": "double", "float16": "half"}


class BadRequest(ValueError):
    """What the client sent cannot be answered; the text is the reply's."""


def about_rows(rows: list[Any], dtype: str, key: str | None = None) -> BadRequest:
    """The first row that is no tensor of the type, or of another shape than the first row; `key` where rows have."""
    named = "" if key is None else f" key: {key}"
    first: list[int] | None = None
    for i, row in enumerate(rows):
        text = _wrong(row, dtype)
        shape = _shape(row)
        if text is None and first is not None and shape != first:
            text = _other_shape(first, shape)
        if text is not None:
            where = f"Failed to process element: {i}{named} of 'instances' list. Error: INVALID_ARGUMENT: "
            return BadRequest(where + text)
        first = shape
    return BadRequest(f"expecting numbers that fit type: {_named(dtype)}")


def about_column(values: Any, dtype: str) -> BadRequest:
    """The first value that does not fit."""
    return BadRequest(_wrong(values, dtype) or f"expecting numbers that fit type: {_named(dtype)}")


def not_of_type(value: Any, dtype: str) -> str:
    """That a value is of another type."""
    kind = str(value) if isinstance(value, bool) else _KINDS[type(value)]
    return f"JSON Value: {quoted(value)} Type: {kind} is not of expected type: {_named(dtype)}"


def leaves(dtype: str) -> tuple[type, ...]:
    """The types of JSON values that stand for numbers of a type: integers are decimals, 1.0 is no integer."""
    return _LEAVES[dtype.rstrip("0123456789")]


def is_bytes(value: Any) -> bool:
    """Whether a value stands for bytes."""
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def from_base64(text: str) -> bytes:
    """The bytes that a base64 text stands for; as in TensorFlow Serving, with or without padding and white space.

    Raises:
        BadRequest: when it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        plain = "".join(text.split())
    try:
        return base64.b64decode(
            plain + "=" * (-len(plain) % 4 if "=" not in plain else 0), validate=True
        )
    except (binascii.Error, ValueError) as error:
        raise BadRequest("Unable to base64 decode") from error


def quoted(value: Any) -> str:
    """The beginning of a value, as an error shows it; no more of it is written out."""
    text = ""
    for part in _WRITTEN.iterencode(value):
        text += part[:_CUT]
        if len(text) >= _CUT:
            break
    return text[:_CUT]


def _named(dtype: str) -> str:
    return _NAMES.get(dtype, dtype)


def _shape(value: Any) -> list[int]:
    """The lengths of the lists down the first elements."""
    sizes = []
    while isinstance(value, list):
        sizes.append(len(value))
        value = value[0] if value else None
    return sizes


def _other_shape(first: list[int], other: list[int]) -> str:
    sizes = []
    for shape in (first, other):
        sizes.append(1)
        for size in shape:
            sizes[-1] *= size
    if sizes[0] != sizes[1]:
        return f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}"
    said = ["[" + ",".join(map(str, shape)) + "]" for shape in (first, other)]
    return f"Expecting shape {said[0]} but got: {said[1]}"


def _wrong(value: Any, dtype: str, shape: list[int] | None = None, level: int = 0) -> str | None:
    """What is wrong with a tensor, which has `shape` in the end; None where nothing is."""
    shape = _shape(value) if shape is None else shape
    if not isinstance(value, list):
        if level != len(shape):
            where = f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            return f"JSON Value: {quoted(value)} {where}"
        return _wrong_leaf(value, dtype)
    if level >= len(shape):
        return f"Encountered list at unexpected level: {level} expected < {len(shape)}"
    if len(value) != shape[level]:
        size = f"{len(value)} at level: {level} expected size: {shape[level]}"
        return f"Encountered list at unexpected size: {size}"
    return next(
        (text for one in value if (text := _wrong(one, dtype, shape, level + 1)) is not None), None
    )


def _wrong_leaf(value: Any, dtype: str) -> str | None:
    if dtype != "object":
        return None if type(value) in leaves(dtype) else not_of_type(value, dtype)
    if isinstance(value, str):
        return None
    if not isinstance(value, dict):
        return not_of_type(value, dtype)
    if not is_bytes(value):
        return f"JSON Value: {quoted(value)} not formatted correctly for base64 data"
    try:
        from_base64(value["b64"])
    except BadRequest as error:
        return str(error)
    return None
