"""The server process: a port, a folder of versions, an application, until a signal ends it."""

import asyncio
import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from epochal.app.errors import UsageError
from epochal.app.serving.application import make_app
from epochal.app.serving.batching import Batcher
from epochal.app.serving.limits import Guard, Limits
from epochal.app.serving.server_metrics import ServerMetrics
from epochal.app.serving.versions import Versions
from epochal.app.store.export import Export

_DRAIN_SECONDS = 10  # in which requests that are being answered may end
_LINGER_SECONDS = 1.0  # in which a connection that was kept open may send a last request

_LOG = logging.getLogger("epochal.serving")


def serve(folder: Path, address: tuple[str, int], *, limits: Limits, trust: bool) -> None:
    """Answer requests for the model in a folder until SIGTERM or Ctrl-C, then end those there are.

    Raises:
        UsageError: the port is taken, or the newest version is not this program's and not trusted.
        StorageError: no version could be loaded.
    """
    listener = _bind(*address)
    metrics = ServerMetrics()
    make_batcher = partial(Batcher, on_batch=metrics.count_batch)
    versions = Versions(folder, trust=trust, make_batcher=make_batcher)
    app = make_app(versions, metrics, limits)
    asyncio.run(_run(app, versions, listener, limits))


async def _run(app: Guard, versions: Versions, listener: socket.socket, limits: Limits) -> None:
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        # h11 bounds headers, the faster httptools does not.
        http="h11",
        # Up to there the guard says in JSON what is wrong.
        h11_max_incomplete_event_size=4 * limits.headers,
        # Of connections, idle ones too; what is beyond gets no JSON.
        limit_concurrency=2 * limits.requests,
    )
    server = _Server(config, app)
    announcement = asyncio.create_task(
        _announce(
            versions,
            listener,
            server,
            limits,
        )
    )
    await server.serve(sockets=[listener])
    await announcement
    if versions.current is None and versions.failure is not None:
        raise versions.failure


class _Server(uvicorn.Server):
    """Drops no accepted request when it ends.

    Uvicorn alone resets connections that are about to be accepted, and those that are kept open.
    """

    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept who has called, stop listening, answer each once more, then end the rest."""
        loop = asyncio.get_running_loop()
        pending: list[socket.socket] = []
        for listener in sockets or []:
            pending.extend(_accept_pending(listener))
        for server in self.servers:
            server.close()
        self._guard.leave()
        for connection in pending:
            await loop.connect_accepted_socket(self._make_protocol, connection)
        end = loop.time() + _LINGER_SECONDS
        await asyncio.sleep(0.1)  # what was accepted is not yet among the connections
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _make_protocol(self) -> Any:
        protocol_class: Any = self.config.http_protocol_class
        return protocol_class(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _accept_pending(listener: socket.socket) -> Iterator[socket.socket]:
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            yield connection


async def _announce(
    versions: Versions, listener: socket.socket, server: uvicorn.Server, limits: Limits
) -> None:
    """Log where the server is once it is ready; end it where no version can be loaded."""
    while not server.should_exit and versions.current is None:
        await asyncio.sleep(0.02)
        states = versions.states.values()
        if states and all(state.state == "END" for state in states):
            server.should_exit = True
    if versions.current is None:
        return
    page = "/"
    header = ""
    if limits.token is not None:
        page = "/#token=TOKEN"
        header = "-H 'Authorization: Bearer TOKEN' "
    url = _url(listener)
    model_url = f"{url}/v1/models/{versions.name}"
    _LOG.info(f"{url}{page} is a page to try it with; for programs: {model_url}")
    folder = versions.current_folder
    if folder is None:
        return
    sample_request = Export(folder).sample_request
    if sample_request.exists():
        _LOG.info(f"  curl {header}{model_url}:predict -d @{sample_request}")


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 shown, not bound
        host = socket.gethostname()
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET
    if ":" in host:
        family = socket.AF_INET6
    # Named, not left to the system: asyncio sends small replies without delay only where the socket
    # says that it is TCP.
    listener = socket.socket(
        family,
        socket.SOCK_STREAM,
        socket.IPPROTO_TCP,
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except (OSError, TypeError, UnicodeError) as error:
        listener.close()
        option = "--host"
        reason = "no name of a host"
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            if not isinstance(error, socket.gaierror) and error.errno != errno.EADDRNOTAVAIL:
                option = "--port"
        problem = f"--port {port}: cannot listen at {host}: {reason}"
        raise UsageError(f"{problem}; give another {option}") from error
    return listener
