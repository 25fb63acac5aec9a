"""Requests that cannot be answered in time, or at all: status and words."""

import asyncio
import json
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.serving.batching import QueueFull
from epochal.app.serving.rest import Rest
from epochal.app.serving.wire import Field
from tests.support.messages import heard

BODY = json.dumps({"instances": [1.0]}).encode()


class Failing:
    """A queue that ends every request in the same way."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def submit(self, arrays: dict[str, np.ndarray]) -> Any:
        if self._error is None:
            await asyncio.sleep(60)
        else:
            raise self._error


def predict(error: Exception | None) -> tuple[int, str]:
    """Return status and error of a predict request to a model that fails, or takes a minute."""
    signature = SimpleNamespace(inputs={"x": Field("float32", (None,))})
    model = SimpleNamespace(version=1, signatures={"serving_default": signature})
    served = SimpleNamespace(model=model, batchers={"serving_default": Failing(error)})

    @contextmanager
    def using(version: int | None) -> Any:
        yield served

    versions: Any = SimpleNamespace(name="m", states={}, current=served, using=using)
    rest = Rest(versions, seconds=0.05)
    status, reply = asyncio.run(rest.answer("POST", "/v1/models/m:predict", BODY))
    return status, json.loads(reply)["error"]


def test_a_request_that_takes_too_long_is_504() -> None:
    assert predict(None) == (504, "not answered within 0.05 seconds")


def test_a_full_queue_is_503() -> None:
    assert predict(QueueFull("1024 images are waiting")) == (
        503,
        "1024 images are waiting; try again later",
    )


def test_what_tensorflow_refuses_is_the_clients_fault() -> None:
    error = tf.errors.InvalidArgumentError(
        None, None, "assertion failed: [expected an image, got none]\n\t [[{{node"
    )
    assert predict(error) == (400, "expected an image, got none")


def test_an_error_of_tensorflows_that_is_no_text_is_the_clients_fault() -> None:
    error = UnicodeDecodeError("utf-8", b"\x89PNG", 0, 1, "invalid start byte")
    status, text = predict(error)
    assert (status, "cannot take this input apart" in text) == (400, True)


@pytest.mark.parametrize(
    "error", [KeyError("x"), tf.errors.InternalError(None, None, "/secret/path"), MemoryError()]
)
def test_a_fault_of_ours_is_500_without_its_words(error: Exception) -> None:
    with heard() as messages:
        assert predict(error) == (500, f"internal error: {type(error).__name__}")
    assert type(error).__name__ in messages[0]
