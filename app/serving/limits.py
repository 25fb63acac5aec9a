"""What a request may cost before it is looked at: its headers, its body, who may send it. ASGI, no framework."""

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
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_CLOSE = (b"connection", b"close")
_OPEN = (
    "/",
    "/healthz",
    "/readyz",
)  # what tells nothing of the model; the page takes the token after #token=


@dataclass(frozen=True, kw_only=True)
class Limits:
    """In bytes; `requests` are answered at once, a body has so many `seconds` to arrive, `token` is what Authorization
    must bear, `local` whether Host must be this machine."""

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
    """ASGI middleware that refuses a request in JSON, or hands it on with its body whole.

    Args:
        app: what answers.
        limits: of a request.
        told: of every refusal: the path, the status and the seconds it took.

    Once it is `leaving`, each reply ends its connection.
    """

    leaving = False

    def __init__(
        self,
        app: Any,
        limits: Limits,
        told: Callable[[str, int, float], None] = lambda path, status, seconds: None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._told = told
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._active += 1
        try:
            await self._answer(scope, receive, partial(self._last, send))
        finally:
            self._active -= 1

    async def _last(self, send: Send, message: MutableMapping[str, Any]) -> None:
        if self.leaving and message["type"] == "http.response.start":
            message["headers"] = [
                pair for pair in message["headers"] if pair[0] != b"connection"
            ] + [_CLOSE]
        await send(message)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            if self._active > self._limits.requests and scope["path"] not in _OPEN:
                raise Refused(
                    503, f"{self._limits.requests} requests are being answered; try again later"
                )
            headers = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in scope["headers"]
            }
            self._check(scope, headers)
            body = _inflated(await self._timely(headers, receive), headers, self._limits.inflated)
        except Refused as refused:
            self._told(scope["path"], refused.status, time.perf_counter() - began)
            await _refuse(refused, send)
            return
        await self._app(scope, _once(body, receive), send)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        limits = self._limits
        if (
            sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope["raw_path"])
            > limits.headers
        ):
            raise Refused(431, f"headers of more than {limits.headers:,} bytes")
        host = headers.get("host", "")
        if (
            limits.local
            and (host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host)
            not in _LOCAL
        ):
            raise Refused(
                400,
                "this server answers requests to localhost alone: start it with --host for others",
            )
        given = headers.get("authorization", "").encode()
        wanted = (
            None
            if limits.token is None or scope["path"] in _OPEN
            else f"Bearer {limits.token}".encode()
        )
        if wanted is not None and not hmac.compare_digest(given, wanted):
            raise Refused(401, "expecting the header Authorization: Bearer TOKEN")

    async def _timely(self, headers: dict[str, str], receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._body(headers, receive)
        except TimeoutError as error:
            raise Refused(
                408, f"the body did not arrive within {self._limits.seconds:g} seconds"
            ) from error

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        most = self._limits.body
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise Refused(413, f"a body of more than {most:,} bytes")
        parts = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the client went away")
            parts.append(message.get("body", b""))
            size = size + len(parts[-1])
            more = message.get("more_body", False)
            if size > most:
                raise Refused(413, f"a body of more than {most:,} bytes")
        return b"".join(parts)


def _inflated(body: bytes, headers: dict[str, str], most: int) -> bytes:
    coding = headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return body
    if coding != "gzip":
        raise Refused(400, f"Content-Encoding {coding[:32]} is not known: send gzip or none")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        whole = inflater.decompress(body, most)
    except zlib.error as error:
        raise Refused(400, "the body is no gzip") from error
    if inflater.unconsumed_tail or not inflater.eof:
        status, what = (
            (413, f"inflates to more than {most:,} bytes")
            if inflater.unconsumed_tail
            else (400, "ends early")
        )
        raise Refused(status, f"the gzip body {what}")
    return whole


def _once(body: bytes, receive: Receive) -> Receive:
    """A channel on which the body arrives whole, and after it what else there is."""
    left = [body]

    async def channel() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return channel


async def _refuse(refused: Refused, send: Send) -> None:
    body = json.dumps({"error": str(refused)}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [_CLOSE]
    headers += [(b"retry-after", b"1")] if refused.status == 503 else []
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
