"""The server's application: wire formats for programs, a page for people, health, metrics."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import fastapi
from fastapi.responses import FileResponse, JSONResponse, Response

from epochal.app.serving.limits import Guard, Limits, Receive, Scope, Send
from epochal.app.serving.rest import Rest
from epochal.app.serving.server_metrics import ServerMetrics
from epochal.app.serving.versions import Versions

_PAGE = Path(__file__).with_name("page.html")
_CONTENT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'"
)


def make_app(
    versions: Versions, metrics: ServerMetrics, limits: Limits, seconds: float = 30.0
) -> Guard:
    """Return the ASGI application that answers for one model, behind its guard.

    It looks for new versions while it runs.

    Args:
        versions: of the model.
        metrics: count every reply.
        limits: of a request.
        seconds: that an answer may take.
    """
    pages = _make_pages(versions, metrics)
    wire_formats = _make_wire_formats(Rest(versions, seconds), metrics)

    async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
        # FastAPI's layers take a millisecond of a request, which is half of what LeNet-5 takes.
        if scope["type"] == "http" and scope["path"].lower().startswith(("/v1", "/v2")):
            await wire_formats(scope, receive, send)
        else:
            await pages(scope, receive, send)

    return Guard(dispatch, limits, on_refusal=metrics.count_reply)


def _make_wire_formats(rest: Rest, metrics: ServerMetrics) -> Any:
    """Return the ASGI application that answers requests of programs."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        path = scope["raw_path"].decode("latin-1")
        message = await receive()
        status, reply = await rest.answer(
            scope["method"],
            path,
            message["body"],
        )
        metrics.count_reply(path, status, time.perf_counter() - began)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(reply)).encode()),
        ]
        if status == 503:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    return answer


def _make_pages(versions: Versions, metrics: ServerMetrics) -> fastapi.FastAPI:
    """Return the ASGI application that answers all else; its life is the server's."""

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        watch = asyncio.create_task(versions.watch())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch

    app = fastapi.FastAPI(
        title="epochal", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.add_exception_handler(404, lambda request, error: Response(status_code=404))
    app.get("/")(lambda: FileResponse(_PAGE, headers={"Content-Security-Policy": _CONTENT_POLICY}))
    app.get("/healthz")(lambda: Response("ok\n", media_type="text/plain"))

    @app.get("/readyz")
    async def answer_ready() -> Response:
        if versions.current is None:
            return Response("not ready\n", 503, media_type="text/plain")
        return Response("ok\n", 200, media_type="text/plain")

    @app.get("/metrics")
    @app.get("/monitoring/prometheus/metrics")
    async def answer_metrics() -> Response:
        text = metrics.to_text(versions.current_number)
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/card")
    async def answer_card() -> Response:
        if versions.current is None:
            return JSONResponse({"error": "no version is ready"}, 503)
        model = versions.current.model
        return JSONResponse(
            {
                "name": versions.name,
                "version": model.version,
                "labels": model.labels,
                "card": model.card,
            }
        )

    return app
