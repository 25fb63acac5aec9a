"""Five thousand requests, half of them malformed: nothing breaks, nothing grows, and who asks rightly is answered."""

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

from tests.support.malformed import malformed
from tests.support.program import epochal
from tests.support.servers import Server, started

pytest.importorskip("fastapi")
pytestmark = pytest.mark.slow
PLAIN = (
    "headers",
    "length",
    "odd path",
    "method",
)  # which HTTP's own layer, or no path of the wire, may answer
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
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf(
        "SC_PAGE_SIZE"
    )


def descriptors(process: Any) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.fixture(scope="module")
def rows(exported: Path) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """The golden images as instances, with what is to be answered."""
    golden = json.loads((exported / "1/assets.extra/golden.json").read_text())
    return list(zip(golden["instances"], golden["expected"], strict=True))


def ask_rightly(
    server: Server, rows: list[tuple[dict[str, str], dict[str, Any]]], number: int, most: int = 4
) -> float:
    """Seconds that a valid request of up to `most` images takes, whose answer is looked at."""
    random = Random(f"{SEED} {number}")
    chosen = [random.choice(rows) for _ in range(random.randint(1, most))]
    began = time.perf_counter()
    value = {"signature_name": "serving_bytes", "instances": [row for row, _ in chosen]}
    status, reply = server.ask("POST", PREDICT, value)
    seconds = time.perf_counter() - began
    assert status == 200, (number, reply)
    for found, (_, expected) in zip(reply["predictions"], chosen, strict=True):
        assert found["label"] == expected["label"]
        assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    return seconds


def ask_wrongly(server: Server, wrong: dict[str, Any], number: int) -> None:
    random = Random(f"{SEED} {number}")
    name = random.choice(sorted(wrong))
    status, body = exchanged(server, wrong[name](random))
    fine = 400 <= status < 500 or (
        name == "broken picture" and status == 200
    )  # a bit may make another picture
    assert fine, (name, number, status, body[:200])
    assert len(body) <= 1024 or status == 200, (name, number)
    if status >= 400 and name not in PLAIN:
        text = json.loads(body)["error"]
        assert "Traceback" not in text, (name, number)
        assert not re.search(r"/(site-packages|saved_models|tmp)/", text), (name, number)


def percentile_99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds))]


def test_half_of_all_requests_malformed(server: Server, rows: list[Any]) -> None:
    wrong = malformed(PREDICT, [base64.b64decode(row["b64"]) for row, _ in rows])
    assert len(wrong) >= 30

    def one(number: int) -> float:
        if Random(number).random() < 0.5:
            return ask_rightly(server, rows, number)
        ask_wrongly(server, wrong, number)
        return 0.0

    with ThreadPoolExecutor(CLIENTS) as clients:
        undisturbed = list(
            clients.map(lambda number: ask_rightly(server, rows, number), range(COUNT // 5))
        )
        list(clients.map(one, range(COUNT // 5)))
        before = resident(server.process), descriptors(server.process)
        disturbed = [seconds for seconds in clients.map(one, range(COUNT // 5, COUNT)) if seconds]
    after = resident(server.process), descriptors(server.process)
    assert after[0] < 1.1 * before[0], (before, after)
    assert after[1] <= before[1] + 5, (before, after)
    assert not [line for line in server.said if "Traceback" in line], "".join(server.said)[-2000:]
    _, measures = server.ask("GET", "/metrics")
    assert b'status="5' not in measures
    print(
        f"99th percentile {percentile_99(disturbed):.4f} s, undisturbed {percentile_99(undisturbed):.4f} s"
    )
    assert percentile_99(disturbed) <= 3 * percentile_99(undisturbed)


def test_the_first_requests_are_no_slower(exported: Path, rows: list[Any]) -> None:
    with started(exported) as server:
        first, steady = (
            [ask_rightly(server, rows, n, most=1) for n in range(count)] for count in (500, 500)
        )
    print(
        f"99th percentile of the first 500 {percentile_99(first):.4f} s, then {percentile_99(steady):.4f} s"
    )
    assert percentile_99(first) <= 1.5 * percentile_99(steady)


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
    assert all(Path(one).is_relative_to(exported) for one in opened), (
        opened
    )  # the look for versions


def test_the_golden_file_is_a_request(server: Server, exported: Path) -> None:
    content = (exported / "1/assets.extra/golden.json").read_bytes()
    status, reply = server.ask("POST", PREDICT, content)
    assert status == 200
    expected = [one["label"] for one in json.loads(content)["expected"]]
    assert [one["label"] for one in reply["predictions"]] == expected
