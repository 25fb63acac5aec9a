"""`epochal serve` in a process of its own."""

import http.client
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from tests.support.program import start

_URL = re.compile(r"http://([^/\s]+)/\S* is a page")


@dataclass
class Server:
    """A server that is ready at `place`, HOST:PORT; `said` is what it wrote to stderr so far."""

    process: subprocess.Popen
    place: str
    said: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """A reply's status and JSON, or bytes where it is none."""
        connection = http.client.HTTPConnection(self.place, timeout=300)
        sent = body if isinstance(body, bytes | None) else json.dumps(body)
        connection.request(method, path, sent, headers or {})
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        content_type = reply.headers.get("Content-Type", "")
        if "json" in content_type:
            return reply.status, json.loads(content)
        return reply.status, content


@contextmanager
def started(folder: Path, *options: object) -> Iterator[Server]:
    """Start a server for a model's folder at a free port, wait until it is ready, then end it."""
    process = start(["serve", folder, "--port", 0, *options], folder.parent)
    assert process.stderr is not None
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        if match := _URL.search(line):
            server = Server(process, match[1], said)
            break
    else:
        raise AssertionError(f"not ready: {''.join(said)}")
    reader = Thread(target=lambda: said.extend(process.stderr), daemon=True)
    reader.start()
    try:
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        reader.join(10)
        process.stderr.close()
        process.stdout.close()
