"""The application without a server, before there is a version to answer with."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")

from epochal.app.serving.application import make_app
from epochal.app.serving.limits import Limits
from epochal.app.serving.server_metrics import ServerMetrics
from epochal.app.serving.versions import Versions


def request(path: str, method: str, folder: Path) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of the reply for a model of which nothing is loaded yet."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b'{"instances": [1.0]}', "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    app = make_app(Versions(folder, trust=False), ServerMetrics(), Limits())
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "query_string": b"",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", b"localhost")],
    }
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent)
    return start["status"], dict(start["headers"]), body


@pytest.mark.parametrize(
    ("path", "status"), [("/healthz", 200), ("/readyz", 503), ("/card", 503), ("/metrics", 200)]
)
def test_it_is_alive_before_it_is_ready(path: str, status: int, tmp_path: Path) -> None:
    assert request(path, "GET", tmp_path)[0] == status


def test_a_request_before_it_is_ready_is_told_when_to_come_back(tmp_path: Path) -> None:
    path = f"/v1/models/{tmp_path.name}:predict"
    status, headers, body = request(path, "POST", tmp_path)
    assert status == 503
    assert headers[b"retry-after"] == b"1"
    assert b"is being loaded" in body
