"""The wire format of TensorFlow Serving, by pairs of request and reply, against a server's process.

`MODEL_SERVER=http://127.0.0.1:8501 pytest tests/app/serving/test_serving_wire.py` asks a real
ModelServer instead, which serves the model that
`python -c "from tests.support.wire_pairs import *; save(Path('/models/half_plus_two'))"` writes.
"""

import http.client
import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.servers import started
from tests.support.wire_pairs import NAME, PAIRS, STRICTER, VERSION, Pair, save

OTHER = os.environ.get("MODEL_SERVER")
pytestmark = pytest.mark.skipif(
    OTHER is None and not pytest.importorskip("fastapi"), reason="needs epochal[serve]"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of the server that is asked."""
    if OTHER is not None:
        yield urlsplit(OTHER).netloc
        return
    folder = tmp_path_factory.mktemp("models") / NAME
    save(folder)
    with started(folder, "--trust") as server:
        yield server.place


def send(place: str, pair: Pair) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(place, timeout=300)
    body = pair.body if isinstance(pair.body, bytes | None) else json.dumps(pair.body)
    connection.request(pair.method, pair.path, body)
    reply = connection.getresponse()
    content = reply.read()
    assert reply.headers["Content-Type"].startswith("application/json")
    connection.close()
    return reply.status, content


@pytest.mark.parametrize("name", PAIRS)
def test_a_request_gets_model_servers_reply(name: str, place: str) -> None:
    check(PAIRS[name], place)


@pytest.mark.skipif(OTHER is not None, reason="ModelServer wraps around")
@pytest.mark.parametrize("name", STRICTER)
def test_what_would_wrap_around_is_refused(name: str, place: str) -> None:
    check(STRICTER[name], place)


def check(pair: Pair, place: str) -> None:
    status, body = send(place, pair)
    assert status == pair.status, body
    if pair.error is not None:
        assert json.loads(body)["error"].startswith(pair.error)
        assert list(json.loads(body)) == ["error"]
    else:
        expected = json.loads(pair.reply) if isinstance(pair.reply, bytes) else pair.reply
        assert json.loads(body) == expected


def test_metadata_describes_every_signature(place: str) -> None:
    _, body = send(place, Pair("GET", f"/v1/models/{NAME}/metadata"))
    metadata: dict[str, Any] = json.loads(body)
    assert metadata["model_spec"] == {"name": NAME, "signature_name": "", "version": str(VERSION)}
    definition = metadata["metadata"]["signature_def"]["signature_def"]["square"]
    dimensions = [{"size": size, "name": ""} for size in ("-1", "2", "2")]
    shape = {"dim": dimensions, "unknown_rank": False}
    assert definition["inputs"] == {
        "m": {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "square_m:0"}
    }
    assert definition["outputs"]["t"]["name"].startswith(
        ("StatefulPartitionedCall", "PartitionedCall")
    )
    assert (definition["method_name"], definition["defaults"]) == ("tensorflow/serving/predict", {})


def test_open_inference_is_answered(place: str) -> None:
    value = {
        "id": "7",
        "inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}],
    }
    _, body = send(place, Pair("POST", f"/v2/models/{NAME}/infer", value))
    output = {"name": "y", "shape": [2], "datatype": "FP32", "data": [2.5, 3.0]}
    assert json.loads(body) == {
        "model_name": NAME,
        "model_version": str(VERSION),
        "id": "7",
        "outputs": [output],
    }
    assert send(place, Pair("GET", "/v2/health/ready"))[0] == 200
    _, body = send(place, Pair("GET", f"/v2/models/{NAME}"))
    assert json.loads(body)["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1]}]


@pytest.mark.parametrize(("path", "status"), [("other", 404), (f"{NAME}/versions/9/ready", 503)])
def test_open_inference_knows_what_is_not_there(path: str, status: int, place: str) -> None:
    assert send(place, Pair("GET", f"/v2/models/{path}"))[0] == status


INFER = {
    "no inputs": ({}, "expecting 'inputs' to be a list"),
    "another name": ({"inputs": [{"name": "z"}]}, "expecting the inputs x, got z"),
    "another type": (
        {"inputs": [{"name": "x", "datatype": "FP64"}]},
        "input x: expecting the datatype FP32, got FP64",
    ),
    "no shape": (
        {"inputs": [{"name": "x", "datatype": "FP32", "data": [1]}]},
        "input x: expecting a shape",
    ),
    "too few": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1]}]},
        "input x: shape [3] needs another number of values than 1",
    ),
    "text": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": ["a"]}]},
        "input x: expecting numbers of datatype FP32",
    ),
    "a number for truth": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [True]}]},
        "input x: expecting numbers of datatype FP32",
    ),
    "a number that does not fit": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [10**400]}]},
        "input x: expecting numbers that fit FP32",
    ),
    "a signature that is no name": (
        {"inputs": [{"name": "x"}], "parameters": {"signature_name": []}},
        "unknown signature",
    ),
    "outputs that are none": (
        {"outputs": 5, "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]},
        "expecting 'outputs' to be a list",
    ),
    "none": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0], "data": []}]},
        "input x: expecting shape [-1], of at least one image, got [0]",
    ),
}


@pytest.mark.parametrize("name", INFER)
def test_open_inference_refuses_what_does_not_fit(name: str, place: str) -> None:
    value, message = INFER[name]
    status, body = send(place, Pair("POST", f"/v2/models/{NAME}/infer", value))
    assert (status, json.loads(body)["error"][: len(message)]) == (400, message)
