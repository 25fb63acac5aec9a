"""TensorFlow Serving's REST paths, and the Open Inference Protocol's, over the versions of one model."""

import asyncio
import re
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
import tensorflow as tf

from epochal.app.data.decoding import describe_error
from epochal.app.serving import classify, wire
from epochal.app.serving import open_inference as infer
from epochal.app.serving import picture_sizes as pixels
from epochal.app.serving.batching import QueueFull
from epochal.app.serving.loaded_model import Signature
from epochal.app.serving.tensor_errors import BadRequest
from epochal.app.serving.versions import NotFound, NotReady, Served, State, Versions

_MOST_VERSION = 2**63 - 1
_MODEL = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(?::(?P<verb>predict|classify|regress)|/(?P<metadata>metadata))?",
    re.IGNORECASE,
)
_LARGE = 2**20  # bytes of a body
_LONGEST = 900  # characters of an error
_STATUS = {  # of what TensorFlow may say of a request, as TensorFlow Serving answers it; all else is our fault
    tf.errors.INVALID_ARGUMENT: 400,
    tf.errors.FAILED_PRECONDITION: 400,
    tf.errors.OUT_OF_RANGE: 400,
    tf.errors.RESOURCE_EXHAUSTED: 429,
    tf.errors.UNIMPLEMENTED: 501,
}
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
        """The status and JSON of a request's reply; `path` as it came, without its query."""
        try:
            return await asyncio.wait_for(self._answered(method, path, body), self._seconds)
        except Exception as error:
            status, text = self._wrong(error)
            return status, wire.encode({"error": text[:_LONGEST]})

    def _wrong(self, error: Exception) -> tuple[int, str]:
        """The status and words for what went wrong with one request, which must not be the server's end."""
        if isinstance(error, BadRequest):
            return 400, str(error)
        if isinstance(error, tf.errors.OpError) and error.error_code in _STATUS:
            return _STATUS[error.error_code], describe_error(error)
        if type(error) in (NotFound, LookupError):
            return 404, str(error)
        if isinstance(error, QueueFull):
            return 503, f"{error}; try again later"
        if isinstance(error, NotReady):
            return 503, str(error)
        if isinstance(
            error, UnicodeDecodeError
        ):  # TensorFlow's own error, which quotes bytes that are no text
            return (
                400,
                "the model cannot take this input apart; see /metadata for what each signature takes",
            )
        if isinstance(error, TimeoutError):
            return 504, f"not answered within {self._seconds:g} seconds"
        traceback.print_exception(error)
        return 500, f"internal error: {type(error).__name__}"

    async def _answered(self, method: str, path: str, body: bytes) -> Reply:
        if path.startswith("/v2"):
            return await self._open_inference(method, path, body)
        match = _MODEL.fullmatch(path)
        if (
            match is None
            or (method == "POST") != bool(match["verb"])
            or method not in ("GET", "POST")
        ):
            if path.rstrip("/").lower() == "/v1/models" and method == "GET":
                raise BadRequest("Missing model name in request.")
            raise BadRequest(f"Malformed request: {method} {path}")
        name = unquote(match["name"])
        version = _version(match["version"])
        if match["metadata"]:
            return 200, wire.encode(self._metadata(name, version, match["label"]))
        if not match["verb"]:
            return 200, wire.encode(self._status(name, version))
        value = await _parsed(body)
        self._check(name, version, match["label"])
        with self._versions.using(version) as served:
            if match["verb"].lower() == "predict":
                return 200, await self._predict(served, value)
            return 200, await self._classify(served, value, match["verb"].lower())

    def _check(self, name: str, version: int | None, label: str | None) -> None:
        """Raises NotFound for another model, BadRequest for a version's label: there are none."""
        if name != self._versions.name:
            raise NotFound(
                "Servable not found for request: "
                + (f"Latest({name})" if version is None else f"Specific({name}, {version})")
            )
        if label is not None:
            raise BadRequest(f"Unrecognized servable version label: {unquote(label)}")

    async def _predict(self, served: Served, value: Mapping[str, Any]) -> bytes:
        signatures = served.loaded.signatures
        asked = wire.predict(value, {name: one.inputs for name, one in signatures.items()})
        pixels.check(_files(asked.arrays))
        answer = await served.batchers[asked.signature].ask(asked.arrays)
        return wire.reply(answer, rows=asked.rows)

    async def _classify(self, served: Served, value: Mapping[str, Any], verb: str) -> bytes:
        name = value.get("signature_name", "serving_default")
        examples = classify.examples(value, verb)
        signature = served.loaded.signatures.get(name) if isinstance(name, str) else None
        if signature is None:
            raise BadRequest(f"No signature was found with the name: {name}")
        _check_classifies(signature, verb)
        features = [feature for one in examples for feature in one.values()]
        pixels.check(value for kind, values in features if kind == "bytes_list" for value in values)
        records = np.array([_example(one) for one in examples], dtype=object)
        return classify.results(await served.batchers[name].ask({"inputs": records}), verb)

    def _status(self, name: str, version: int | None) -> dict[str, Any]:
        states = self._versions.states if name == self._versions.name else {}
        if not states:
            raise NotFound(f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise NotFound(f"Could not find version {version} of model {name}")
        chosen = [version] if version is not None else sorted(states, reverse=True)
        return {"model_version_status": [_told(one, states[one]) for one in chosen]}

    def _metadata(self, name: str, version: int | None, label: str | None) -> dict[str, Any]:
        self._check(name, version, label)
        with self._versions.using(version) as served:
            definitions = served.loaded.definitions
            spec = {"name": name, "signature_name": "", "version": str(served.loaded.version)}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": definitions}}}

    async def _open_inference(self, method: str, path: str, body: bytes) -> Reply:
        served = self._versions.current
        parts = infer.route(method, path, self._versions.name)
        if parts.what == "server":
            return 200, wire.encode(infer.SERVER)
        if parts.what in ("live", "ready"):
            there = served is not None and parts.version in (None, served.loaded.version)
            fine = parts.what == "live" or there
            return 200 if fine else 503, wire.encode({parts.what: fine})
        with self._versions.using(parts.version) as served:
            if parts.what == "model":
                return 200, wire.encode(infer.metadata(self._versions.name, served.loaded))
            asked = infer.request(await _parsed(body), served.loaded.signatures)
            pixels.check(_files(asked.arrays))
            answer = await served.batchers[asked.signature].ask(asked.arrays)
            return 200, infer.reply(self._versions.name, served.loaded.version, asked, answer)


async def _parsed(body: bytes) -> dict[str, Any]:
    """The request; a large one is taken apart beside the others, which a second on it would keep waiting."""
    return wire.parse(body) if len(body) < _LARGE else await asyncio.to_thread(wire.parse, body)


def _files(arrays: Mapping[str, np.ndarray]) -> Iterator[bytes]:
    """What stands in the inputs that are bytes."""
    for array in arrays.values():
        if array.dtype == object:
            yield from array.reshape(-1)


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) > 19 or int(text) > _MOST_VERSION:
        raise BadRequest(f"Failed to convert version: {text[:64]} to numeric.")
    return int(text)


def _told(version: int, state: State) -> dict[str, Any]:
    status = {"error_code": state.code, "error_message": state.message}
    return {"version": str(version), "state": state.state, "status": status}


def _check_classifies(signature: Signature, verb: str) -> None:
    outputs = {"classify": {"classes", "scores"}, "regress": {"outputs"}}[verb]
    if set(signature.inputs) != {"inputs"} or not set(signature.outputs) <= outputs:
        raise BadRequest(
            f"Expected a signature for {verb}: one input, inputs, and the outputs {' and '.join(sorted(outputs))}; got "
            f"{', '.join(signature.inputs)} and {', '.join(signature.outputs)}; give another signature_name"
        )


def _example(features: Mapping[str, tuple[str, list[Any]]]) -> bytes:
    """A serialized tf.Example."""
    example = tf.train.Example()
    for name, (kind, values) in features.items():
        getattr(example.features.feature[name], kind).value.extend(values)
    return bytes(example.SerializeToString())
