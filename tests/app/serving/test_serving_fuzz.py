"""Five thousand requests, half of them malformed: nothing breaks, nothing grows."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest

from epochal.app.store.export import Export
from tests.support.malformed import malformed
from tests.support.program import epochal
from tests.support.servers import Server, started

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow
# These HTTP's own layer may answer, or no path of the wire.
PLAIN = ("headers", "length", "odd path", "method")
COUNT = 5000
CLIENTS = 4
SEED = 0
PREDICT = "/v1/models/digits:predict"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    for command in (
        ["train", "--model", "softmax", "--epochs", 2, "--name", "digits"],
        ["export", "digits"],
    ):
        done = epochal(command, folder)
        assert done.returncode == 0, done.stderr
    return folder / "saved_models/digits"


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[Server]:
    with started(exported) as process:
        yield process


def exchanged(server: Server, content: bytes) -> tuple[int, bytes]:
    """Return status and body of the reply to bytes; 0 where the connection closed without one."""
    host, port = server.place.split(":")
    reply = b""
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        try:
            connection.sendall(content)
            while part := connection.recv(65536):
                reply += part
        except ConnectionError:
            pass  # it has answered, and does not want the rest
    head, _, body = reply.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def resident(process: Any) -> int:
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def descriptors(process: Any) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.fixture(scope="module")
def rows(exported: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The sample images as instances, with their answers."""
    golden = json.loads(Export(exported / "1").sample_request.read_text())
    return list(zip(golden["instances"], golden["expected"], strict=True))


def send_valid(
    server: Server, rows: list[tuple[dict[str, str], dict[str, Any]]], number: int
) -> None:
    """Send a valid request of up to four images and check its answer."""
    random = Random(f"{SEED} {number}")
    sample = [random.choice(rows) for _ in range(random.randint(1, 4))]
    value = {"signature_name": "serving_bytes", "instances": [row for row, _ in sample]}
    status, reply = server.ask("POST", PREDICT, value)
    assert status == 200, (number, reply)
    for prediction, (_, expected) in zip(reply["predictions"], sample, strict=True):
        assert prediction["label"] == expected["label"]
        assert prediction["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


def send_malformed(server: Server, wrong: dict[str, Any], number: int) -> None:
    random = Random(f"{SEED} {number}")
    name = random.choice(sorted(wrong))
    status, body = exchanged(server, wrong[name](random))
    if name == "broken picture" and status == 200:
        return  # a bit may make another picture
    assert 400 <= status < 500, (name, number, status, body[:200])
    assert len(body) <= 1024, (name, number)
    if name not in PLAIN:
        text = json.loads(body)["error"]
        assert "Traceback" not in text, (name, number)
        assert not re.search(r"/(site-packages|saved_models|tmp)/", text), (name, number)


def test_half_of_all_requests_malformed(server: Server, rows: list[Any]) -> None:
    wrong = malformed(PREDICT, [base64.b64decode(row["b64"]) for row, _ in rows])
    assert len(wrong) >= 30

    def send(number: int) -> None:
        if Random(number).random() < 0.5:
            send_valid(server, rows, number)
        else:
            send_malformed(server, wrong, number)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(send, range(COUNT // 5)))
        memory_before = resident(server.process)
        descriptors_before = descriptors(server.process)
        list(clients.map(send, range(COUNT // 5, COUNT)))
    assert resident(server.process) < 1.1 * memory_before
    assert descriptors(server.process) <= descriptors_before + 5
    assert not [line for line in server.said if "Traceback" in line], "".join(server.said)[-2000:]
    _, measures = server.ask("GET", "/metrics")
    assert b'status="5' not in measures


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace, which sees what a process opens"
)
def test_nothing_that_a_request_names_is_opened(
    server: Server, exported: Path, tmp_path: Path
) -> None:
    planted = tmp_path / "planted.png"
    planted.write_bytes(b"not to be read")

    def ask() -> None:
        for name in (str(planted), f"file://{planted}", f"../../../../../..{planted}"):
            for key in ("image_bytes", "image", "b64", "path"):
                server.ask(
                    "POST", PREDICT, {"signature_name": "serving_bytes", "instances": [{key: name}]}
                )
            coded = {"b64": base64.b64encode(name.encode()).decode()}
            server.ask("POST", PREDICT, {"signature_name": "serving_bytes", "instances": [coded]})
            server.ask("POST", PREDICT, {"signature_name": name, "instances": [coded]})
            for path in (
                f"/{name}",
                f"/v1/models/{name}",
                f"/v1/models/{quote(name, safe='')}:predict",
            ):
                server.ask("GET", path)

    ask()  # Python imports and the like are done by now
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-e",
        "trace=open,openat,openat2",
        "-o",
        trace,
        "-p",
        str(server.process.pid),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert "attached" in tracer.stderr.readline()
        ask()
        time.sleep(1.5)  # one look at the folder of versions: that the trace sees what is opened
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
    opened = set(re.findall(r'open(?:at2?)?\([^"]*"([^"]*)"', trace.read_text()))
    assert str(exported) in opened
    for path in opened:  # the look for versions alone
        assert Path(path).is_relative_to(exported), opened


def test_the_golden_file_is_a_request(server: Server, exported: Path) -> None:
    content = Export(exported / "1").sample_request.read_bytes()
    status, reply = server.ask("POST", PREDICT, content)
    assert status == 200
    expected = [answer["label"] for answer in json.loads(content)["expected"]]
    assert [prediction["label"] for prediction in reply["predictions"]] == expected
