"""The server's paths: the wire formats for programs, a page for people, health for those who watch over it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import fastapi
from fastapi.responses import FileResponse, JSONResponse, Response

from app.serving.batching import Batcher
from app.serving.limits import Guard, Limits, Receive, Scope, Send
from app.serving.measures import Measures
from app.serving.rest import Rest
from app.serving.versions import Versions

_PAGE = Path(__file__).with_name("page.html")
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)


def make_app(versions: Versions, limits: Limits, seconds: float = 30.0) -> Any:
    """The ASGI application that answers for one model; it looks for new versions while it runs.

    Args:
        versions: of the model.
        limits: of a request.
        seconds: that an answer may take.
    """
    measures, rest = Measures(), Rest(versions, seconds)
    versions.batcher = partial(Batcher, seen=measures.called)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        watching = asyncio.create_task(versions.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    app = fastapi.FastAPI(title="epochal", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/")
    async def page() -> Response:
        return FileResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})

    @app.get("/healthz")
    async def alive() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def ready() -> Response:
        there = versions.current is not None
        return Response("ok\n" if there else "not ready\n", 200 if there else 503, media_type="text/plain")

    @app.get("/metrics")
    @app.get("/monitoring/prometheus/metrics")
    async def metrics() -> Response:
        version = versions.current.loaded.version if versions.current else None
        return Response(measures.text(version), media_type="text/plain; version=0.0.4")

    @app.get("/card")
    async def card() -> Response:
        served = versions.current
        if served is None:
            return JSONResponse({"error": "no version is ready"}, 503)
        known = {"name": versions.name, "version": served.loaded.version, "labels": served.loaded.labels}
        return JSONResponse({**known, "card": served.loaded.card})

    @app.exception_handler(404)
    async def nothing(request: fastapi.Request, error: Exception) -> Response:
        return Response(status_code=404)

    async def wire(scope: Scope, receive: Receive, send: Send) -> None:
        began, path = time.perf_counter(), scope["raw_path"].decode("latin-1")
        status, reply = await rest.answer(scope["method"], path, (await receive())["body"])
        measures.answered(path, status, time.perf_counter() - began)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
        retry = [(b"retry-after", b"1")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers + retry})
        await send({"type": "http.response.body", "body": reply})

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI's layers take a millisecond of a request, which is half of what LeNet-5 takes.
        formats = scope["type"] == "http" and scope["path"].lower().startswith(("/v1", "/v2"))
        await (wire if formats else app)(scope, receive, send)

    return Guard(chosen, limits)
