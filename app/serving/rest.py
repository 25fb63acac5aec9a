"""REST paths of TensorFlow Serving and of the Open Inference Protocol, for one model."""

import asyncio
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
import tensorflow as tf

from epochal.app.data.decoding import describe_error
from epochal.app.serving import classify, open_inference, wire
from epochal.app.serving.batching import QueueFull
from epochal.app.serving.loaded_model import Signature
from epochal.app.serving.picture_sizes import check_picture_sizes
from epochal.app.serving.tensor_errors import BadRequest
from epochal.app.serving.versions import NotFound, NotReady, ServedVersion, Versions

_MOST_VERSION = 2**63 - 1
_MODEL_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<verb>predict|classify|regress)|/(?P<metadata>metadata))?",
    re.IGNORECASE,
)
_LARGE_BODY = 2**20  # bytes
_ERROR_CHARACTERS = 900
# Of what TensorFlow may say of a request, as TensorFlow Serving answers it; all else is our fault.
_STATUS = {
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.FAILED_PRECONDITION: 400,
    tf.errors.OUT_OF_RANGE: 400,
    tf.errors.RESOURCE_EXHAUSTED: 429,
    tf.errors.UNIMPLEMENTED: 501,
}
_OUTPUTS = {"classify": {"classes", "scores"}, "regress": {"outputs"}}

_LOG = logging.getLogger("epochal.serving")

Reply = tuple[int, bytes]


class Rest:
    """Answers requests for one model.

    Args:
        versions: of that model.
        seconds: that an answer may take.
    """

    def __init__(self, versions: Versions, seconds: float = 30.0) -> None:
        self._versions = versions
        self._seconds = seconds

    async def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Return the status and JSON of a request's reply; `path` as it came, without its query."""
        try:
            return await asyncio.wait_for(
                self._answer(
                    method,
                    path,
                    body,
                ),
                self._seconds,
            )
        except Exception as error:
            status, text = self._describe_error(error)
            return status, wire.encode({"error": text[:_ERROR_CHARACTERS]})

    def _describe_error(self, error: Exception) -> tuple[int, str]:
        """Return status and words for an error of one request, which must not end the server."""
        if isinstance(error, BadRequest):
            return 400, str(error)
        if isinstance(error, tf.errors.OpError) and error.error_code in _STATUS:
            return _STATUS[error.error_code], describe_error(error)
        if type(error) in (NotFound, LookupError):  # a KeyError is our fault
            return 404, str(error)
        if isinstance(error, QueueFull):
            return 503, f"{error}; try again later"
        if isinstance(error, NotReady):
            return 503, str(error)
        if isinstance(error, UnicodeDecodeError):
            # TensorFlow's own error, which quotes bytes that are no text.
            advice = "see /metadata for what each signature takes"
            return 400, f"the model cannot take this input apart; {advice}"
        if isinstance(error, TimeoutError):
            return 504, f"not answered within {self._seconds:g} seconds"
        _LOG.error("".join(traceback.format_exception(error)).rstrip())
        return 500, f"internal error: {type(error).__name__}"

    async def _answer(self, method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v2"):
            return await self._answer_open_inference(method, path, body)
        match = _match_path(method, path)
        name = unquote(match["name"])
        version = _parse_version(match["version"])
        label = match["label"]
        if match["metadata"]:
            metadata = self._metadata(name, version, label)
            return 200, wire.encode(metadata)
        if not match["verb"]:
            status = self._status(name, version)
            return 200, wire.encode(status)
        value = await _parse(body)
        self._check_model(name, version, label)
        verb = match["verb"].lower()
        with self._versions.using(version) as served:
            if verb == "predict":
                return 200, await _predict(served, value)
            return 200, await _classify(served, value, verb)

    def _check_model(self, name: str, version: int | None, label: str | None) -> None:
        """Raise NotFound for another model, BadRequest for a version's label: there are none."""
        if name != self._versions.name:
            servable = f"Latest({name})"
            if version is not None:
                servable = f"Specific({name}, {version})"
            raise NotFound(f"Servable not found for request: {servable}")
        if label is not None:
            raise BadRequest(f"Unrecognized servable version label: {unquote(label)}")

    def _status(self, name: str, version: int | None) -> dict[str, Any]:
        states = self._versions.states
        if name != self._versions.name or not states:
            raise NotFound(f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise NotFound(f"Could not find version {version} of model {name}")
        statuses = []
        for number in sorted(states, reverse=True):
            if version in (None, number):
                state = states[number]
                status = {"error_code": state.code, "error_message": state.message}
                statuses.append({"version": str(number), "state": state.state, "status": status})
        return {"model_version_status": statuses}

    def _metadata(self, name: str, version: int | None, label: str | None) -> dict[str, Any]:
        self._check_model(name, version, label)
        with self._versions.using(version) as served:
            model = served.model
            spec = {"name": name, "signature_name": "", "version": str(model.version)}
            definitions = {"signature_def": model.definitions}
            return {"model_spec": spec, "metadata": {"signature_def": definitions}}

    async def _answer_open_inference(self, method: str, path: str, body: bytes) -> Reply:
        name = self._versions.name
        route = open_inference.parse_path(method, path, name)
        if route.target == "server":
            return 200, wire.encode(open_inference.SERVER)
        if route.target == "live":
            return 200, wire.encode({"live": True})
        if route.target == "ready":
            number = self._versions.current_number
            if number is not None and route.version in (None, number):
                return 200, wire.encode({"ready": True})
            return 503, wire.encode({"ready": False})
        with self._versions.using(route.version) as served:
            if route.target == "model":
                metadata = open_inference.model_metadata(name, served.model)
                return 200, wire.encode(metadata)
            value = await _parse(body)
            request = open_inference.parse_infer(value, served.model.signatures)
            check_picture_sizes(_contents(request.arrays))
            batcher = served.batchers[request.signature]
            answer = await batcher.submit(request.arrays)
            version = served.model.version
            return 200, open_inference.format_infer(
                name,
                version,
                request,
                answer,
            )


def _match_path(method: str, path: str) -> re.Match[str]:
    match = _MODEL_PATH.fullmatch(path)
    if match is not None:
        expected_method = "GET"
        if match["verb"]:
            expected_method = "POST"
        if method == expected_method:
            return match
    elif path.rstrip("/").lower() == "/v1/models" and method == "GET":
        raise BadRequest("Missing model name in request.")
    raise BadRequest(f"Malformed request: {method} {path}")


async def _predict(served: ServedVersion, value: Mapping[str, Any]) -> bytes:
    signatures = served.model.signatures
    inputs = {name: signature.inputs for name, signature in signatures.items()}
    request = wire.parse_predict(value, inputs)
    check_picture_sizes(_contents(request.arrays))
    batcher = served.batchers[request.signature]
    answer = await batcher.submit(request.arrays)
    return wire.format_predict(answer, rows=request.rows)


async def _classify(served: ServedVersion, value: Mapping[str, Any], verb: str) -> bytes:
    name = value.get("signature_name", "serving_default")
    examples = classify.parse_examples(value, verb)
    if not isinstance(name, str) or name not in served.model.signatures:
        raise BadRequest(f"No signature was found with the name: {name}")
    _check_classifies(served.model.signatures[name], verb)
    contents = []
    for example in examples:
        for list_name, values in example.values():
            if list_name == "bytes_list":
                contents.extend(values)
    check_picture_sizes(contents)
    records = list(map(_serialize_example, examples))
    inputs = np.array(records, dtype=object)
    answer = await served.batchers[name].submit({"inputs": inputs})
    return classify.format_results(answer, verb)


async def _parse(body: bytes) -> dict[str, Any]:
    """Parse a request; a large one beside the others, which a second on it would keep waiting."""
    if len(body) < _LARGE_BODY:
        return wire.parse(body)
    return await asyncio.to_thread(wire.parse, body)


def _contents(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """Yield the values of inputs that are bytes."""
    for array in arrays.values():
        if array.dtype == object:
            yield from array.reshape(-1)


def _parse_version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) > _MOST_VERSION:
        raise BadRequest(f"Failed to convert version: {text[:64]} to numeric.")
    return int(text)


def _check_classifies(signature: Signature, verb: str) -> None:
    outputs = _OUTPUTS[verb]
    if set(signature.inputs) == {"inputs"} and set(signature.outputs) <= outputs:
        return
    expected = " and ".join(sorted(outputs))
    input_names = ", ".join(signature.inputs)
    output_names = ", ".join(signature.outputs)
    raise BadRequest(
        f"Expected a signature for {verb}: one input, inputs, and the outputs {expected}; "
        f"got {input_names} and {output_names}; give another signature_name"
    )


def _serialize_example(features: Mapping[str, classify.Feature]) -> bytes:
    """Return a serialized tf.train.Example."""
    example = tf.train.Example()
    for name, (list_name, values) in features.items():
        feature = example.features.feature[name]
        getattr(feature, list_name).value.extend(values)
    return bytes(example.SerializeToString())
