"""Limits of requests: the size of headers and body, who may send them. ASGI, no framework."""

import asyncio
import hmac
import json
import time
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_CLOSE = (b"connection", b"close")
# These tell nothing of the model; the page takes the token after #token=.
_OPEN_PATHS = ("/", "/healthz", "/readyz")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of requests.

    Attributes:
        requests: that are answered at once.
        seconds: in which a body must have arrived.
        body: bytes of a body as it is sent.
        inflated: bytes of a body that was compressed.
        headers: bytes of the path and all headers.
        token: that the header Authorization must bear; None asks for none.
        local: whether the header Host must be this machine.
    """

    requests: int = 512
    seconds: float = 30.0
    body: int = 16 * 2**20
    inflated: int = 100 * 2**20
    headers: int = 32 * 2**10
    token: str | None = None
    local: bool = True


class Refused(Exception):
    """A request that is not answered further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware that refuses a request in JSON, or hands it on with its body in one piece.

    Args:
        app: answers what is not refused.
        limits: of a request.
        on_refusal: called after every refusal with the path, the status and the seconds it took.
    """

    def __init__(
        self,
        app: Any,
        limits: Limits,
        on_refusal: Callable[[str, int, float], None] = lambda path, status, seconds: None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._on_refusal = on_refusal
        self._active = 0
        self._is_leaving = False

    def leave(self) -> None:
        """Let each reply end its connection from now on."""
        self._is_leaving = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._active += 1
        try:
            await self._answer(scope, receive, partial(self._send, send))
        finally:
            self._active -= 1

    async def _send(self, send: Send, message: Message) -> None:
        if self._is_leaving and message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if pair[0] != b"connection"]
            message["headers"] = [*headers, _CLOSE]
        await send(message)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        limits = self._limits
        try:
            if self._active > limits.requests and scope["path"] not in _OPEN_PATHS:
                problem = f"{limits.requests} requests are being answered"
                raise Refused(503, f"{problem}; try again later")
            headers = {}
            for name, value in scope["headers"]:
                headers[name.decode("latin-1").lower()] = value.decode("latin-1")
            _check_headers(scope, headers, limits)
            body = await _receive_in_time(headers, receive, limits)
            body = _inflate(body, headers, limits.inflated)
        except Refused as refused:
            self._on_refusal(
                scope["path"],
                refused.status,
                time.perf_counter() - began,
            )
            await _send_refusal(refused, send)
            return
        await self._app(scope, _channel(body, receive), send)


def _check_headers(scope: Scope, headers: dict[str, str], limits: Limits) -> None:
    num_bytes = len(scope["raw_path"])
    for name, value in scope["headers"]:
        num_bytes += len(name) + len(value)
    if num_bytes > limits.headers:
        raise Refused(431, f"headers of more than {limits.headers:,} bytes")
    if limits.local and _host_name(headers) not in _LOCAL_HOSTS:
        advice = "start it with --host for others"
        raise Refused(400, f"this server answers requests to localhost alone: {advice}")
    if limits.token is not None and scope["path"] not in _OPEN_PATHS:
        received = headers.get("authorization", "").encode()
        expected = f"Bearer {limits.token}".encode()
        if not hmac.compare_digest(received, expected):
            raise Refused(401, "expecting the header Authorization: Bearer TOKEN")


def _host_name(headers: dict[str, str]) -> str:
    """Return the header Host without its port."""
    host = headers.get("host", "")
    name, _, port = host.rpartition(":")
    if port.isascii() and port.isdigit():
        return name
    return host


async def _receive_in_time(headers: dict[str, str], receive: Receive, limits: Limits) -> bytes:
    try:
        async with asyncio.timeout(limits.seconds):
            return await _receive_body(headers, receive, limits.body)
    except TimeoutError as error:
        problem = f"the body did not arrive within {limits.seconds:g} seconds"
        raise Refused(408, problem) from error


async def _receive_body(headers: dict[str, str], receive: Receive, limit: int) -> bytes:
    length = headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > limit:
        raise Refused(413, f"a body of more than {limit:,} bytes")
    parts = []
    size = 0
    is_complete = False
    while not is_complete:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the client went away")
        part = message.get("body", b"")
        parts.append(part)
        size += len(part)
        is_complete = not message.get("more_body", False)
        if size > limit:
            raise Refused(413, f"a body of more than {limit:,} bytes")
    return b"".join(parts)


def _inflate(body: bytes, headers: dict[str, str], limit: int) -> bytes:
    coding = headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return body
    if coding != "gzip":
        raise Refused(400, f"Content-Encoding {coding[:32]} is not known: send gzip or none")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        inflated = inflater.decompress(body, limit)
    except zlib.error as error:
        raise Refused(400, "the body is no gzip") from error
    if inflater.unconsumed_tail:
        raise Refused(413, f"the gzip body inflates to more than {limit:,} bytes")
    if not inflater.eof:
        raise Refused(400, "the gzip body ends early")
    return inflated


def _channel(body: bytes, receive: Receive) -> Receive:
    """Return a channel on which the body arrives in one piece, and after it what else there is."""
    unread = [body]  # taken out when it is read, so that its memory can be freed

    async def receive_body() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return receive_body


async def _send_refusal(refused: Refused, send: Send) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        _CLOSE,
    ]
    if refused.status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
