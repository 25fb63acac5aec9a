"""Requests in TensorFlow Serving's wire format, its replies, and the little model they are for.

The pairs follow its own tests (`http_rest_api_handler_test.cc`, `json_tensor_test.cc`). An error is
compared by its beginning: `startswith` the text here.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

NAME = "half_plus_two"
VERSION = 7
_MODEL = f"/v1/models/{NAME}"
_PREDICT = f"{_MODEL}:predict"


@dataclass(frozen=True)
class Pair:
    """A request and its reply; an `error` is the beginning of the reply's."""

    method: str
    path: str
    body: Any = None
    status: int = 200
    reply: Any = None
    error: str | None = None


def save(folder: Path, slope: float = 0.5) -> None:
    """Writes the model: x to slope x + 2, and signatures for what else the wire can carry."""
    numbers = tf.TensorSpec([None], tf.float32, name="x")
    text = tf.TensorSpec([None], tf.string, name="s")
    square = tf.TensorSpec([None, 2, 2], tf.float32, name="m")
    examples = tf.TensorSpec([None], tf.string, name="inputs")
    wholes, bytes_ = (tf.TensorSpec([None], dtype, name="n") for dtype in (tf.int64, tf.uint8))
    floats = {"x": tf.io.FixedLenFeature([], tf.float32)}

    class Model(tf.Module):
        pass

    model = Model()
    model.slope = tf.Variable(float(slope))

    def line(x: Any) -> Any:
        return model.slope * x + 2.0

    def scored(inputs: Any) -> dict[str, Any]:
        scores = tf.stack(
            [line(tf.io.parse_example(inputs, floats)["x"]), tf.ones(tf.shape(inputs))], 1
        )
        return {"classes": tf.tile([["line", "one"]], [tf.shape(inputs)[0], 1]), "scores": scores}

    functions: dict[str, tuple[Any, list[Any]]] = {
        "serving_default": (lambda x: {"y": line(x)}, [numbers]),
        "two": (lambda x: {"y": line(x), "label": tf.as_string(x)}, [numbers]),
        "sum": (lambda x, n: {"y": x + tf.cast(n, tf.float32)}, [numbers, wholes]),
        "square": (lambda m: {"t": tf.transpose(m, [0, 2, 1])}, [square]),
        "wholes": (lambda n: {"n": n}, [wholes]),
        "bytes": (lambda n: {"n": n}, [bytes_]),
        "text": (lambda s: {"length": tf.strings.length(s), "echo_bytes": s}, [text]),
        "classify": (scored, [examples]),
        "regress": (
            lambda inputs: {"outputs": line(tf.io.parse_example(inputs, floats)["x"])},
            [examples],
        ),
    }
    traced = {
        key: tf.function(one, input_signature=specs, autograph=False)
        for key, (one, specs) in functions.items()
    }
    tf.saved_model.save(model, str(folder / str(VERSION)), traced)


def _named(signature: str, **more: Any) -> dict[str, Any]:
    return {"signature_name": signature, **more}


_HI = base64.b64encode(b"\xff\x00hi").decode()
_FIRST = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
_SECOND = _FIRST.replace("0", "1", 1)
_AVAILABLE = {
    "version": str(VERSION),
    "state": "AVAILABLE",
    "status": {"error_code": "OK", "error_message": ""},
}

PAIRS = {
    # predict, in rows
    "rows": Pair(
        "POST", _PREDICT, {"instances": [1.0, 2, 5]}, reply={"predictions": [2.5, 3.0, 4.5]}
    ),
    "rows by name": Pair(
        "POST", _PREDICT, {"instances": [{"x": 1.0}]}, reply={"predictions": [2.5]}
    ),
    "the version": Pair(
        "POST", f"{_MODEL}/versions/7:predict", {"instances": [0]}, reply={"predictions": [2.0]}
    ),
    "any case": Pair(
        "POST", f"/V1/Models/{NAME}:Predict", {"instances": [0]}, reply={"predictions": [2.0]}
    ),
    "an escaped name": Pair(
        "POST",
        "/v1/models/half%5Fplus%5Ftwo:predict",
        {"instances": [0]},
        reply={"predictions": [2.0]},
    ),
    "unknown keys": Pair(
        "POST", _PREDICT, {"instances": [0], "more": {}}, reply={"predictions": [2.0]}
    ),
    "bytes after it": Pair(
        "POST", _PREDICT, b'{"instances": [0]} and so on', reply={"predictions": [2.0]}
    ),
    "infinity": Pair(
        "POST",
        _PREDICT,
        b'{"instances": [Infinity, -Infinity]}',
        reply=b'{"predictions": [Infinity, -Infinity]}',
    ),
    "short floats": Pair("POST", _PREDICT, {"instances": [0.2]}, reply={"predictions": [2.1]}),
    "several outputs": Pair(
        "POST",
        _PREDICT,
        _named("two", instances=[1]),
        reply={"predictions": [{"y": 2.5, "label": "1.000000"}]},
    ),
    "several inputs": Pair(
        "POST",
        _PREDICT,
        _named("sum", instances=[{"x": 0.5, "n": 2}, {"x": 1, "n": 3}]),
        reply={"predictions": [2.5, 4.0]},
    ),
    "a matrix": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[[1, 2], [3, 4]]]),
        reply={"predictions": [[[1.0, 3.0], [2.0, 4.0]]]},
    ),
    "whole numbers": Pair(
        "POST",
        _PREDICT,
        _named("wholes", instances=[1, -(2**62)]),
        reply={"predictions": [1, -(2**62)]},
    ),
    "base64": Pair(
        "POST",
        _PREDICT,
        _named("text", instances=[{"b64": _HI}]),
        reply={"predictions": [{"length": 4, "echo_bytes": {"b64": _HI}}]},
    ),
    "base64 by name": Pair(
        "POST",
        _PREDICT,
        _named("text", instances=[{"s": {"b64": _HI}}]),
        reply={"predictions": [{"length": 4, "echo_bytes": {"b64": _HI}}]},
    ),
    "base64 without its end, on two lines": Pair(
        "POST",
        _PREDICT,
        _named("text", instances=[{"b64": "aMO\np"}, {"b64": "aA"}]),
        reply={
            "predictions": [
                {"length": 3, "echo_bytes": {"b64": "aMOp"}},
                {"length": 1, "echo_bytes": {"b64": "aA=="}},
            ]
        },
    ),
    "text": Pair(
        "POST",
        _PREDICT,
        _named("text", instances=["hé"]),
        reply={"predictions": [{"length": 3, "echo_bytes": {"b64": "aMOp"}}]},
    ),
    # predict, in columns
    "columns": Pair("POST", _PREDICT, {"inputs": [1.0, 2]}, reply={"outputs": [2.5, 3.0]}),
    "columns by name": Pair("POST", _PREDICT, {"inputs": {"x": [1.0]}}, reply={"outputs": [2.5]}),
    "several columns": Pair(
        "POST", _PREDICT, _named("sum", inputs={"x": [1.0], "n": [1]}), reply={"outputs": [2.0]}
    ),
    "columns of several outputs": Pair(
        "POST",
        _PREDICT,
        _named("two", inputs=[1]),
        reply={"outputs": {"y": [2.5], "label": ["1.000000"]}},
    ),
    # predict, refused
    "nothing": Pair("POST", _PREDICT, b"", 400, error="JSON Parse error: The document is empty"),
    "no JSON": Pair(
        "POST", _PREDICT, b"hello", 400, error="JSON Parse error: Invalid value. at offset: 0"
    ),
    "no object": Pair("POST", _PREDICT, b"[1]", 400, error="JSON Value: [1] Is not object"),
    "neither key": Pair("POST", _PREDICT, {}, 400, error="Missing 'inputs' or 'instances' key"),
    "both keys": Pair(
        "POST",
        _PREDICT,
        {"inputs": [1], "instances": [1]},
        400,
        error='JSON Value: {"inputs":[1],"instances":[1]} Not formatted correctly '
        "expecting only one",
    ),
    "no list": Pair(
        "POST",
        _PREDICT,
        {"instances": 1},
        400,
        error="JSON Value: {\"instances\":1} Expecting 'instances' to be an list/array",
    ),
    "an empty list": Pair(
        "POST",
        _PREDICT,
        {"instances": []},
        400,
        error="JSON Value: {\"instances\":[]} No values in 'instances' array",
    ),
    "a wrong type": Pair(
        "POST",
        _PREDICT,
        {"instances": ["x"]},
        400,
        error=f'{_FIRST}JSON Value: "x" Type: String is not of expected type: float',
    ),
    "a float for a whole number": Pair(
        "POST",
        _PREDICT,
        _named("wholes", instances=[1.0]),
        400,
        error=f"{_FIRST}JSON Value: 1.0 Type: Number is not of expected type: int64",
    ),
    "truth for a number": Pair(
        "POST",
        _PREDICT,
        {"instances": [True]},
        400,
        error=f"{_FIRST}JSON Value: true Type: True is not of expected type: float",
    ),
    "ragged": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[1, 2, 3, 4], [1, 2, 3]]),
        400,
        error=f"{_SECOND}Expecting tensor size: 4 but got: 3",
    ),
    "rows of two shapes": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[[1, 2], [3, 4]], [1, 2, 3, 4]]),
        400,
        error=f"{_SECOND}Expecting shape [2,2] but got: [4]",
    ),
    "a row that is no tensor": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[[1, 2], [3]]]),
        400,
        error=f"{_FIRST}Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "a list among numbers": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[[1, 2], [3, [4]]]]),
        400,
        error=f"{_FIRST}Encountered list at unexpected level: 2 expected < 2",
    ),
    "a number among lists": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[[1, 2], 3]]),
        400,
        error=f"{_FIRST}JSON Value: 3 found at incorrect level: 2 in the JSON DOM. "
        "Expected at level: 2",
    ),
    "ragged columns": Pair(
        "POST",
        _PREDICT,
        _named("square", inputs=[[1, 2], [3]]),
        400,
        error="Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "an unknown input": Pair(
        "POST",
        _PREDICT,
        {"instances": [{"z": 1}]},
        400,
        error="Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z",
    ),
    "a missing input": Pair(
        "POST",
        _PREDICT,
        _named("sum", instances=[{"x": 1.0}]),
        400,
        error="Failed to process element: 0 of 'instances' list. "
        'JSON object: {"x":1.0} keys must be equal to: n,x',
    ),
    "a wrong type by name": Pair(
        "POST",
        _PREDICT,
        _named("sum", instances=[{"x": 1.0, "n": 1}, {"x": 1.0, "n": None}]),
        400,
        error="Failed to process element: 1 key: n of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON Value: null Type: Null is not of expected type: int64",
    ),
    "a value among objects": Pair(
        "POST",
        _PREDICT,
        {"instances": [{"x": 1.0}, 2]},
        400,
        error="Expecting object but got list at item 1 of input",
    ),
    "an object among values": Pair(
        "POST",
        _PREDICT,
        {"instances": [1, {"x": 2}]},
        400,
        error="Expecting value/list but got object at item 1 of",
    ),
    "values for two inputs": Pair(
        "POST",
        _PREDICT,
        _named("sum", instances=[1]),
        400,
        error="instances is a plain list, but expecting list of",
    ),
    "a column for two inputs": Pair(
        "POST",
        _PREDICT,
        _named("sum", inputs=[1]),
        400,
        error="inputs is a plain value/list, but expecting an object",
    ),
    "a signature that is no name": Pair(
        "POST",
        _PREDICT,
        {"signature_name": 5, "instances": [1]},
        400,
        error='JSON Value: {"signature_name":5,"instances":[1]} not formatted correctly. '
        "'signature_name' key",
    ),
    "an unknown signature": Pair(
        "POST",
        _PREDICT,
        _named("x", instances=[1]),
        400,
        error='Serving signature name: "x" not found in signature def',
    ),
    "a missing column": Pair(
        "POST",
        _PREDICT,
        _named("sum", inputs={"x": [1.0]}),
        400,
        error="Missing named input: n in 'inputs' object.",
    ),
    "bad base64": Pair(
        "POST",
        _PREDICT,
        _named("text", instances=[{"b64": "?"}]),
        400,
        error=f"{_FIRST}Unable to base64 decode",
    ),
    "a number for base64": Pair(
        "POST",
        _PREDICT,
        _named("text", inputs={"s": [{"b64": 5}]}),
        400,
        error='JSON Value: {"b64":5} not formatted correctly for base64 data',
    ),
    "an unknown model": Pair(
        "POST",
        "/v1/models/foo:predict",
        {"instances": [1]},
        404,
        error="Servable not found for request: Latest(foo)",
    ),
    "an unknown version": Pair(
        "POST",
        f"{_MODEL}/versions/9:predict",
        {"instances": [1]},
        404,
        error=f"Servable not found for request: Specific({NAME}, 9)",
    ),
    "an unknown label": Pair(
        "POST",
        f"{_MODEL}/labels/beta:predict",
        {"instances": [1]},
        400,
        error="Unrecognized servable version label: beta",
    ),
    "a version too long": Pair(
        "POST",
        f"{_MODEL}/versions/18446744073709551616:predict",
        {"instances": [1]},
        400,
        error="Failed to convert version: 18446744073709551616 to numeric.",
    ),
    # classify and regress
    "classify": Pair(
        "POST",
        f"{_MODEL}:classify",
        _named("classify", examples=[{"x": 1.0}, {"x": 2.5}]),
        reply={"results": [[["line", 2.5], ["one", 1.0]], [["line", 3.25], ["one", 1.0]]]},
    ),
    "with a context": Pair(
        "POST",
        f"{_MODEL}:classify",
        _named("classify", context={"x": 1.0}, examples=[{}]),
        reply={"results": [[["line", 2.5], ["one", 1.0]]]},
    ),
    "regress": Pair(
        "POST",
        f"{_MODEL}:regress",
        _named("regress", examples=[{"x": 1.0}]),
        reply={"results": [2.5]},
    ),
    "no examples": Pair(
        "POST",
        f"{_MODEL}:classify",
        _named("classify"),
        400,
        error='JSON Value: {"signature_name":"classify"} When method is classify, '
        "key 'examples' is expected and was",
    ),
    "classify by an unknown signature": Pair(
        "POST",
        f"{_MODEL}:classify",
        _named("x", examples=[{"x": 1.0}]),
        400,
        error="No signature was found with the name: x",
    ),
    "a feature of two types": Pair(
        "POST",
        f"{_MODEL}:classify",
        _named("classify", examples=[{"x": [1.0, "a"]}]),
        400,
        error='JSON Value: [1.0,"a"]',
    ),
    # status
    "status": Pair("GET", _MODEL, reply={"model_version_status": [_AVAILABLE]}),
    "a version's status": Pair(
        "GET", f"{_MODEL}/versions/7", reply={"model_version_status": [_AVAILABLE]}
    ),
    "a label's status is all": Pair(
        "GET", f"{_MODEL}/labels/x", reply={"model_version_status": [_AVAILABLE]}
    ),
    "an unknown model's status": Pair(
        "GET", "/v1/models/foo", status=404, error="Could not find any versions of model foo"
    ),
    "an unknown version's status": Pair(
        "GET", f"{_MODEL}/versions/9", status=404, error=f"Could not find version 9 of model {NAME}"
    ),
    # paths
    "no model's name": Pair(
        "GET", "/v1/models", status=400, error="Missing model name in request."
    ),
    "another path": Pair("GET", "/v1/foo", status=400, error="Malformed request: GET /v1/foo"),
    "another method": Pair("GET", _PREDICT, status=400, error=f"Malformed request: GET {_PREDICT}"),
}
STRICTER = {  # where that server wraps around, or leaves it to the model
    "another shape": Pair(
        "POST",
        _PREDICT,
        _named("square", instances=[[1, 2]]),
        400,
        error="Expecting shape [?,2,2] but got: [1,2]",
    ),
    "beyond 64 bits and below 0": Pair(
        "POST",
        _PREDICT,
        _named("wholes", instances=[2**63, -1]),
        400,
        error="expecting integers from -92233720368547",
    ),
    "a number beyond float32": Pair(
        "POST", _PREDICT, {"instances": [1e39]}, 400, error="expecting numbers that fit type: float"
    ),
    "a byte too large": Pair(
        "POST",
        _PREDICT,
        _named("bytes", instances=[256]),
        400,
        error="expecting integers from 0 to 255",
    ),
    "a byte below 0": Pair(
        "POST",
        _PREDICT,
        _named("bytes", instances=[-1]),
        400,
        error="expecting integers from 0 to 255",
    ),
}
