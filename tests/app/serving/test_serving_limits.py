"""Limits of requests, without a server: the guard before an application that notes its requests."""

import asyncio
import gzip
import io
import json
from typing import Any

import pytest
from PIL import Image

from epochal.app.serving.limits import Guard, Limits
from epochal.app.serving.picture_sizes import check_picture_sizes
from epochal.app.serving.tensor_errors import BadRequest

HEADERS = {"host": "localhost:8501"}


def send_through(
    limits: Limits, headers: dict[str, str], *parts: bytes, path: str = "/v1/x"
) -> tuple[int, Any]:
    """Return status and error of the guard's refusal, or 200 and the body that it handed on."""
    messages: list[Any] = []
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        messages.append({"status": 200})
        messages.append(await receive())

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        messages.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "raw_path": path.encode(), "headers": pairs}
    asyncio.run(Guard(app, limits)(scope, receive, send))
    status = messages[0]["status"]
    body = messages[1]["body"]
    if status == 200:
        return status, body
    return status, json.loads(body)["error"]


def test_a_body_in_parts_arrives_whole() -> None:
    assert send_through(Limits(), HEADERS, b"one ", b"two") == (200, b"one two")


@pytest.mark.parametrize("headers", [{"content-length": "11"}, {}])
def test_a_body_too_large_is_refused_told_or_not(headers: dict[str, str]) -> None:
    status, error = send_through(Limits(body=10), HEADERS | headers, b"123456", b"78901")
    assert (status, error) == (413, "a body of more than 10 bytes")


def test_more_requests_than_can_be_answered_are_told_so() -> None:
    refused = send_through(Limits(requests=0), HEADERS)
    assert refused == (503, "0 requests are being answered; try again later")


def test_health_is_told_even_then() -> None:
    assert send_through(Limits(requests=0), HEADERS, path="/healthz")[0] == 200


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    statuses: list[int] = []

    async def never() -> Any:
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        statuses.append(message.get("status", 0))

    scope = {"type": "http", "path": "/x", "raw_path": b"/x", "headers": [(b"host", b"localhost")]}

    def note(path: str, status: int, seconds: float) -> None:
        statuses.append(status)

    guard = Guard(None, Limits(seconds=0.01), on_refusal=note)
    asyncio.run(guard(scope, never, send))
    assert statuses == [408, 408, 0]


def picture(side: int) -> bytes:
    content = io.BytesIO()
    Image.new("1", (side, side)).save(content, "PNG")
    return content.getvalue()


def test_pictures_are_refused_by_what_their_headers_claim() -> None:
    large = picture(5000)
    check_picture_sizes([large, large, b"no picture" * 1000])
    with pytest.raises(BadRequest, match="at most 64 megapixels in all"):
        check_picture_sizes([large] * 3)
    with pytest.raises(BadRequest, match="at most 64 megapixels in all"):
        check_picture_sizes([picture(20_000)])


def test_headers_too_large_are_refused() -> None:
    assert send_through(Limits(headers=100), HEADERS | {"x": "y" * 90})[0] == 431


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.1:1", "[::1]:8501"])
def test_this_machine_is_answered(host: str) -> None:
    assert send_through(Limits(), {"host": host})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "", "localhost:80:evil"]
)
def test_other_hosts_are_not_unless_wanted(host: str) -> None:
    assert send_through(Limits(), {"host": host})[0] == 400
    assert send_through(Limits(local=False), {"host": host})[0] == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic right one", "bearer right one", "Bearer right"],
)
def test_another_token_is_refused(authorization: str) -> None:
    assert (
        send_through(Limits(token="right one"), HEADERS | {"authorization": authorization})[0]
        == 401
    )


def test_the_right_token_is_let_in_and_health_needs_none() -> None:
    limits = Limits(token="right one")
    assert send_through(limits, HEADERS | {"authorization": "Bearer right one"})[0] == 200
    assert [
        send_through(limits, HEADERS, path=path)[0]
        for path in ("/", "/healthz", "/readyz", "/card")
    ] == [200] * 3 + [401]


GZIPPED: dict[str, tuple[bytes, int, Any]] = {
    "small": (gzip.compress(b"small"), 200, b"small"),
    "large": (gzip.compress(bytes(101)), 413, "the gzip body inflates to more than 100 bytes"),
    "cut": (gzip.compress(b"small")[:-5], 400, "the gzip body ends early"),
    "none": (b"none", 400, "the body is no gzip"),
}


@pytest.mark.parametrize("name", GZIPPED)
def test_gzip_is_inflated_up_to_its_limit(name: str) -> None:
    body, status, expected = GZIPPED[name]
    assert send_through(Limits(inflated=100), HEADERS | {"content-encoding": "gzip"}, body) == (
        status,
        expected,
    )


def test_another_coding_is_refused() -> None:
    assert (
        send_through(Limits(), HEADERS | {"content-encoding": "br"})[1]
        == "Content-Encoding br is not known: send gzip or none"
    )
