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

from epochal.app.serving.batching import Batcher
from epochal.app.serving.limits import Guard, Limits, Receive, Scope, Send
from epochal.app.serving.rest import Rest
from epochal.app.serving.server_metrics import Measures
from epochal.app.serving.versions import Versions

_PAGE = Path(__file__).with_name("page.html")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"


def make_app(versions: Versions, limits: Limits, seconds: float = 30.0) -> Guard:
    """The ASGI application that answers for one model, behind its guard; it looks for new versions while it runs.

    Args:
        versions: of the model.
        limits: of a request.
        seconds: that an answer may take.
    """
    measures = Measures()
    versions.batcher = partial(Batcher, seen=measures.called)
    pages = _pages(versions, measures)
    formats = _formats(Rest(versions, seconds), measures)

    async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI's layers take a millisecond of a request, which is half of what LeNet-5 takes.
        wire = scope["type"] == "http" and scope["path"].lower().startswith(("/v1", "/v2"))
        await (formats if wire else pages)(scope, receive, send)

    return Guard(chosen, limits, told=measures.answered)


def _formats(rest: Rest, measures: Measures) -> Any:
    """Answers requests of programs."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        path = scope["raw_path"].decode("latin-1")
        status, reply = await rest.answer(scope["method"], path, (await receive())["body"])
        measures.answered(path, status, time.perf_counter() - began)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(reply)).encode()),
        ]
        retry = [(b"retry-after", b"1")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers + retry})
        await send({"type": "http.response.body", "body": reply})

    return answer


def _pages(versions: Versions, measures: Measures) -> fastapi.FastAPI:
    """All else; its life is the server's."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        watching = asyncio.create_task(versions.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    app = fastapi.FastAPI(
        title="epochal", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(404, lambda request, error: Response(status_code=404))
    app.get("/")(lambda: FileResponse(_PAGE, headers={"Content-Security-Policy": _POLICY}))
    app.get("/healthz")(lambda: Response("ok\n", media_type="text/plain"))

    @app.get("/readyz")
    async def ready() -> Response:
        there = versions.current is not None
        return Response(
            "ok\n" if there else "not ready\n", 200 if there else 503, media_type="text/plain"
        )

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
        known = {
            "name": versions.name,
            "version": served.loaded.version,
            "labels": served.loaded.labels,
        }
        return JSONResponse({**known, "card": served.loaded.card})

    return app
