"""Five thousand requests, half of them malformed: nothing breaks, nothing grows, and who asks rightly is answered."""

import base64
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.malformed import malformed
from tests.program import epochal
from tests.servers import Server, started

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow
COUNT, CLIENTS, SEED = 5000, 4, 0
PREDICT = "/v1/models/digits:predict"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for command in (["train", "--model", "softmax", "--epochs", 2, "--name", "digits"], ["export", "digits"]):
        done = epochal(command, folder)
        assert done.returncode == 0, done.stderr
    return folder / "saved_models/digits"


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[Server]:
    with started(exported) as found:
        yield found


def exchanged(server: Server, content: bytes) -> tuple[int, bytes]:
    """Status and body of the reply to bytes; status 0 where the connection was closed without one."""
    host, port = server.place.split(":")
    found = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        try:
            connection.sendall(content)
            while part := connection.recv(65536):
                found += part
        except ConnectionError:
            pass  # it has answered, and does not want the rest
    head, _, body = found.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def resident(process: Any) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process: Any) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_half_of_all_requests_malformed(server: Server, exported: Path) -> None:
    golden = json.loads((exported / "1/assets.extra/golden.json").read_text())
    rows = list(zip(golden["instances"], golden["expected"], strict=True))
    wrong = malformed(PREDICT, [base64.b64decode(row["b64"]) for row, _ in rows])
    assert len(wrong) == 30

    def one(number: int) -> None:
        random = Random(f"{SEED} {number}")
        if random.random() < 0.5:
            name = random.choice(sorted(wrong))
            status, body = exchanged(server, wrong[name](random))
            fine = 400 <= status < 500 or (name == "broken picture" and status == 200)  # a bit may make another picture
            assert fine, (name, number, status, body[:200])
            assert len(body) <= 1024 or status == 200, (name, number)
            if body.startswith(b"{") and status != 200:
                text = json.loads(body)["error"]
                assert "Traceback" not in text, (name, number)
                assert "/site-packages/" not in text, (name, number)
        else:
            chosen = [random.choice(rows) for _ in range(random.randrange(1, 5))]
            value = {"signature_name": "serving_bytes", "instances": [row for row, _ in chosen]}
            status, reply = server.ask("POST", PREDICT, value)
            assert status == 200, (number, reply)
            for found, (_, expected) in zip(reply["predictions"], chosen, strict=True):
                assert found["label"] == expected["label"]
                assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(one, range(COUNT // 5)))
        before = resident(server.process), descriptors(server.process)
        list(clients.map(one, range(COUNT // 5, COUNT)))
    after = resident(server.process), descriptors(server.process)
    assert after[0] < 1.1 * before[0], (before, after)
    assert after[1] <= before[1] + 5, (before, after)
    assert not [line for line in server.said if "Traceback" in line], "".join(server.said)[-2000:]
    _, measures = server.ask("GET", "/metrics")
    assert b'status="5' not in measures


def test_the_golden_file_is_a_request(server: Server, exported: Path) -> None:
    content = (exported / "1/assets.extra/golden.json").read_bytes()
    status, reply = server.ask("POST", PREDICT, content)
    assert status == 200
    expected = [one["label"] for one in json.loads(content)["expected"]]
    assert [one["label"] for one in reply["predictions"]] == expected
