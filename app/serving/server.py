"""`epochal serve` as a story: a port, a folder of versions, an application, until somebody says stop."""

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn

from epochal.app.errors import UsageError
from epochal.app.serving.application import make_app
from epochal.app.serving.limits import Guard, Limits
from epochal.app.serving.versions import Versions
from epochal.app.store.export import Export

_DRAIN = 10  # seconds in which requests that are being answered may end
_LINGER = 1.0  # seconds in which a connection that was kept open may still ask


def serve(
    folder: Path,
    address: tuple[str, int],
    *,
    limits: Limits,
    trust: bool,
    say: Callable[[str], None],
) -> None:
    """Answers requests for the model in a folder until SIGTERM or Ctrl-C, then ends what is being answered.

    Raises:
        UsageError: the port is taken, or the newest version is not this program's and not trusted.
        StorageError: no version could be loaded.
    """
    listener = _bound(*address)
    versions = Versions(folder, trust=trust, say=say)
    asyncio.run(_run(versions, listener, limits, say))


async def _run(
    versions: Versions, listener: socket.socket, limits: Limits, say: Callable[[str], None]
) -> None:
    app = make_app(versions, limits)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_DRAIN,
        http="h11",  # which bounds headers; the faster httptools does not
        h11_max_incomplete_event_size=4
        * limits.headers,  # up to there the guard says in JSON what is wrong
        limit_concurrency=2
        * limits.requests,  # connections, idle ones too; what is beyond gets no JSON
    )
    server = _Server(config, app)
    first = asyncio.create_task(
        _announce(versions, listener, server, say, "TOKEN" if limits.token else None)
    )
    await server.serve(sockets=[listener])
    await first
    if versions.current is None and versions.failure is not None:
        raise versions.failure


class _Server(uvicorn.Server):
    """Drops no accepted request when it ends: uvicorn alone resets who is about to be, and who keeps a connection."""

    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes in who has called, listens no more, answers each once more, then lets uvicorn end the rest."""
        loop = asyncio.get_running_loop()
        last = [one for listener in sockets or [] for one in _waiting(listener)]
        for server in self.servers:
            server.close()
        self._guard.leaving = True
        for connection in last:
            await loop.connect_accepted_socket(self._protocol, connection)
        end = loop.time() + _LINGER
        await asyncio.sleep(0.1)  # what was taken in is not yet among the connections
        while self.server_state.connections and loop.time() < end:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _protocol(self) -> Any:
        made: Any = self.config.http_protocol_class
        return made(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    with suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


async def _announce(
    versions: Versions,
    listener: socket.socket,
    server: Any,
    say: Callable[[str], None],
    token: str | None,
) -> None:
    """Tells where the server is once it is ready; ends it when there is nothing it could answer with."""
    while not server.should_exit and versions.current is None:
        await asyncio.sleep(0.02)
        if versions.states and all(state.state == "END" for state in versions.states.values()):
            server.should_exit = True
    if versions.current is not None:
        host, port = listener.getsockname()[:2]
        host = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 told, not bound
        where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        page = f"/#token={token}" if token else "/"
        say(
            f"{where}{page} is a page to try it with; for programs: {where}/v1/models/{versions.name}"
        )
        folder = versions.folder / str(versions.current.loaded.version)
        sample = Export(folder).sample_request
        if sample.exists():
            header = f"-H 'Authorization: Bearer {token}' " if token else ""
            say(f"  curl {header}{where}/v1/models/{versions.name}:predict -d @{sample}")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, not left to the system: asyncio sends small replies without delay only where the socket says it is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        other = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        raise UsageError(
            f"--port {port}: cannot listen at {host}: {error.strerror}; give another {other}"
        ) from error
    return listener
