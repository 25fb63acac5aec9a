"""TensorFlow Serving's classify and regress: requests of examples, replies of results. No TensorFlow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from epochal.app.serving.tensor_errors import BadRequest, is_bytes, quoted
from epochal.app.serving.wire import all_finite, bytes_of, encode, plain


def examples(value: Mapping[str, Any], verb: str) -> list[dict[str, tuple[str, list[Any]]]]:
    """The examples of a classify or regress request: each feature's kind of list, and its values.

    Raises:
        BadRequest: in TensorFlow Serving's words.
    """
    key = f"JSON Value: {quoted(value)} When method is {verb}, key 'examples' is expected and was not found"
    if "examples" not in value:
        raise BadRequest(key)
    given = value["examples"]
    context = value.get("context", {})
    if not isinstance(given, list) or not given:
        raise BadRequest(
            f"JSON Value: {quoted(given)} Expecting 'examples' to be a list that holds some"
        )
    if not isinstance(context, dict):
        raise BadRequest(f"JSON Value: {quoted(context)} Expecting 'context' to be an object")
    for one in given:
        if not isinstance(one, dict):
            raise BadRequest(f"JSON Value: {quoted(one)} Is not object")
    return [
        {name: _feature(name, found) for name, found in {**context, **one}.items()} for one in given
    ]


def _feature(name: str, value: Any) -> tuple[str, list[Any]]:
    values = value if isinstance(value, list) else [value]
    if all(isinstance(one, str) or is_bytes(one) for one in values):
        return "bytes_list", bytes_of(values)
    if all(isinstance(one, bool | int) for one in values):
        if any(not -(2**63) <= one < 2**63 for one in values):
            raise BadRequest(
                f"JSON Value: {quoted(value)} feature: {quoted(name)} has an integer beyond 64 bits"
            )
        return "int64_list", [int(one) for one in values]
    if all(type(one) in (int, float) for one in values) and not any(
        type(one) is int for one in values
    ):
        return "float_list", values
    raise BadRequest(
        f"JSON Value: {quoted(value)} feature: {quoted(name)} has values of more than one type, or of none"
    )


def results(outputs: Mapping[str, np.ndarray], verb: str) -> bytes:
    """A classify reply, pairs of label and score in the model's order, or a regress reply, a number each."""
    finite = all_finite(outputs)
    if verb == "regress":
        return encode({"results": outputs["outputs"].reshape(-1)}, finite=finite)
    names = outputs.get("classes")
    scores = outputs.get("scores")
    if names is None:
        names = np.full(outputs["scores"].shape, b"", dtype=object)
    if scores is None:
        scores = np.zeros(names.shape, np.float32)
    rows = zip(plain("classes", names), scores, strict=True)
    return encode(
        {"results": [[list(pair) for pair in zip(*row, strict=True)] for row in rows]},
        finite=finite,
    )
