"""Base64 in requests of every protocol: texts, data URIs, and what is neither."""

import base64
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("orjson")

from epochal.app.serving import classify, open_inference, wire
from epochal.app.serving.tensor_errors import BadRequest

CONTENT = bytes(range(256))
TEXT = base64.b64encode(CONTENT).decode()
SIGNATURES = {"serving_default": {"image": wire.Field("object", (None,))}}


def rows(text: str) -> bytes:
    value = {"instances": [{"b64": text}]}
    return wire.parse_predict(value, SIGNATURES).arrays["image"].item()


def columns(text: str) -> bytes:
    value = {"inputs": {"image": [{"b64": text}]}}
    return wire.parse_predict(value, SIGNATURES).arrays["image"].item()


def examples(text: str) -> Any:
    value = {"examples": [{"image": {"b64": text}}]}
    ((_, (content,)),) = classify.parse_examples(value, "classify")[0].values()
    return content


def infer(text: str) -> bytes:
    signature = SimpleNamespace(inputs=SIGNATURES["serving_default"], outputs={})
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    request = open_inference.parse_infer({"inputs": [tensor]}, {"serving_default": signature})
    assert isinstance(request.arrays["image"], np.ndarray)
    return request.arrays["image"].item()


@pytest.mark.parametrize("parse", [rows, columns, examples, infer])
@pytest.mark.parametrize(
    "head",
    ["", "data:image/png;base64,", "DATA:;BASE64,", " data:image/svg+xml;charset=utf-8;base64,\n"],
)
def test_base64_may_be_a_data_uri(head: str, parse: Any) -> None:
    assert parse(head + TEXT) == CONTENT


@pytest.mark.parametrize("parse", [rows, columns, examples, infer])
@pytest.mark.parametrize(
    "text",
    ["?", "data:image/png;base64,?", "data:image/png;base64", "data:" + ";a" * 1_000_000 + ","],
    ids=lambda text: text[:25],
)
def test_what_is_no_base64_is_refused(text: str, parse: Any) -> None:
    with pytest.raises(BadRequest, match="Unable to base64 decode"):
        parse(text)


def test_a_data_uri_in_another_code_is_told_what_it_lacks() -> None:
    with pytest.raises(BadRequest, match=";base64"):
        rows("data:image/svg+xml,%3Csvg/%3E")
