"""`epochal serve`, the real process: limits, lifecycle, versions, malformed requests."""

import http.client
import json
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from epochal.app.commands.serve import run as serve
from epochal.app.errors import UsageError
from tests.support.malformed import http as http_request
from tests.support.program import epochal
from tests.support.servers import Server, started
from tests.support.wire_pairs import NAME, VERSION, save

pytest.importorskip("fastapi")
PREDICT = f"/v1/models/{NAME}:predict"
ONE = {"instances": [1.0]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / NAME
    save(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with started(model, "--trust") as process:
        yield process


def raw(server: Server, content: bytes) -> bytes:
    """Return what the server sends back for bytes, until it closes."""
    host, port = server.place.split(":")
    with socket.create_connection((host, int(port)), timeout=300) as connection:
        connection.sendall(content)
        reply = b""
        while part := connection.recv(65536):
            reply += part
        return reply


def test_health_and_measures(server: Server) -> None:
    assert [server.ask("GET", path) for path in ("/healthz", "/readyz")] == [(200, b"ok\n")] * 2
    server.ask("POST", PREDICT, ONE)
    status, text = server.ask("GET", "/metrics")
    assert status == 200
    assert b'epochal_requests_total{status="200",verb="predict"}' in text
    assert f"epochal_model_version {VERSION}.0".encode() in text


def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    status, page = server.ask("GET", "/")
    assert (status, b"http://" in page, b"https://" in page) == (200, False, False)


@pytest.mark.parametrize("path", ["/nothing", "/v3/x", "/../etc/passwd", "/%2e%2e/etc/passwd"])
def test_other_paths_are_404(path: str, server: Server) -> None:
    assert server.ask("GET", path) == (404, b"")


def test_a_body_too_large_is_413_before_it_is_sent(server: Server) -> None:
    head = http_request("POST", PREDICT, Content_Length=17_000_000)
    assert b"HTTP/1.1 413" in raw(server, head)


@pytest.mark.parametrize("size", [40_000, 100_000])
def test_headers_too_large_are_refused(size: int, server: Server) -> None:
    head = http_request("GET", "/healthz", X="y" * size)
    assert raw(server, head).startswith(b"HTTP/1.1 431")


def test_only_this_machine_is_answered(server: Server) -> None:
    status, reply = server.ask("POST", PREDICT, ONE, {"Host": "evil.example"})
    assert (status, "localhost alone" in reply["error"]) == (400, True)


DEEP = b'{"instances": ' + b"[" * 100_000
CLOSED = b'{"instances": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}"
HARD = {
    "deep": (DEEP, "nested too deeply"),
    "deep and closed": (CLOSED, "nested too deeply"),
    "a large number": (
        b'{"instances": [1' + b"0" * 400 + b"]}",
        "expecting numbers that fit type: float",
    ),
    "half a character": (b'{"signature_name": "\\ud800", "instances": [1]}', "Invalid encoding"),
    "a long name": (
        b'{"signature_name": "' + b"x" * 5000 + b'", "instances": [1]}',
        "Serving signature name",
    ),
    "long number": (b'{"instances": [' + b"9" * 5000 + b"]}", "JSON Parse error"),
    "beyond 64 bits": (
        b'{"signature_name": "wholes", "instances": [99999999999999999999]}',
        "is not of expected type: int",
    ),
    "many": (b'{"instances": [' + b"1," * 4_000_001 + b"1]}", "more than 4,000,000 elements"),
    "no UTF-8": (b'{"instances": ["\xff"]}', "Invalid encoding"),
    "rectangles": (b'{"instances": [[1, 2], [3, 4]]}', "Expecting shape [?]"),
    "null": (b'{"instances": [null]}', "Type: Null is not of expected type"),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_json_is_an_error_of_the_clients(name: str, server: Server) -> None:
    body, message = HARD[name]
    status, reply = server.ask("POST", PREDICT, body)
    assert status == 400
    assert message in reply["error"]
    assert len(reply["error"]) < 1000


def test_gzip_is_taken_and_bombs_are_not(server: Server) -> None:
    import gzip

    coded = {"Content-Encoding": "gzip"}
    assert server.ask("POST", PREDICT, gzip.compress(json.dumps(ONE).encode()), coded) == (
        200,
        {"predictions": [2.5]},
    )
    status, reply = server.ask("POST", PREDICT, gzip.compress(bytes(2**27)), coded)
    assert (status, "inflates to more than" in reply["error"]) == (413, True)
    for body, message in ((b"none", "no gzip"), (gzip.compress(b"whole")[:-4], "ends early")):
        status, reply = server.ask("POST", PREDICT, body, coded)
        assert (status, message in reply["error"]) == (400, True)


@pytest.mark.slow
def test_a_token_is_asked_for(model: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("correct horse\nsecond line")
    with started(model, "--trust", "--token-file", tmp_path / "secret") as server:
        assert server.ask("GET", "/readyz")[0] == 200
        for headers in (
            {},
            {"Authorization": "Bearer correct"},
            {"Authorization": "correct horse"},
        ):
            assert server.ask("POST", PREDICT, ONE, headers)[0] == 401
        assert server.ask("POST", PREDICT, ONE, {"Authorization": "Bearer correct horse"})[0] == 200
        assert server.ask("GET", "/card")[0] == 401
        assert any("/#token=TOKEN is a page" in line for line in server.said)


@pytest.mark.slow
def test_a_saved_model_of_others_needs_trust(model: Path) -> None:
    done = epochal(["serve", model, "--port", 0], model.parent)
    assert done.returncode == 2
    assert "a SavedModel is a program: give --trust to run it" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_versions_are_swapped_while_requests_come(tmp_path: Path) -> None:
    numbers = range(VERSION + 1, VERSION + 21)
    folder = tmp_path / NAME
    save(folder)
    replies: list[tuple[int, object]] = []
    with started(folder, "--trust") as server:
        ended = Event()
        clients = [Thread(target=client, args=(server, replies, ended)) for _ in range(3)]
        for thread in clients:
            thread.start()
        for version in numbers:
            publish(tmp_path, folder, version)
            wait_for(server, version)
        broken = numbers[-1] + 1
        (folder / str(broken)).mkdir()
        (folder / str(broken) / "saved_model.pb").write_bytes(b"no model")
        statuses = wait_for(server, broken, "END")
        states = {status["version"]: status["state"] for status in statuses}
        assert states.pop(str(numbers[-1])) == "AVAILABLE"
        assert set(states.values()) == {"END"}
        shutil.rmtree(folder)
        time.sleep(1.5)
        ended.set()
        for thread in clients:
            thread.join()
        assert server.ask("POST", PREDICT, ONE)[0] == 200
    assert {status for status, _ in replies} == {200}
    expected = set()
    for slope in (0.5, *numbers):
        predictions = [slope * x + 2.0 for x in (1, 2, 3)]
        expected.add(json.dumps({"predictions": predictions}))
    assert {json.dumps(reply) for _, reply in replies} == expected


def client(server: Server, replies: list[tuple[int, object]], ended: Event) -> None:
    while not ended.is_set():
        replies.append(server.ask("POST", PREDICT, {"instances": [1.0, 2.0, 3.0]}))


def publish(beside: Path, folder: Path, version: int) -> None:
    """Publish a version that answers x times its number plus two."""
    save(beside / "made", slope=version)
    (beside / "made" / str(VERSION)).rename(folder / str(version))


def wait_for(server: Server, version: int, state: str = "AVAILABLE") -> list[dict]:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        _, reply = server.ask("GET", f"/v1/models/{NAME}")
        statuses = reply["model_version_status"]
        for status in statuses:
            if status["version"] == str(version) and status["state"] == state:
                return statuses
        time.sleep(0.1)
    raise AssertionError(f"version {version} never came to {state}: {statuses}")


@pytest.mark.slow
def test_fifty_clients_that_never_finish_keep_nobody_waiting(server: Server) -> None:
    host, port = server.place.split(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(50)]
    for connection in idle:
        connection.sendall(http_request("POST", PREDICT, b"{", Content_Length=100))
    for _ in range(20):
        assert server.ask("POST", PREDICT, ONE)[0] == 200
    for connection in idle:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):  # nothing is sent to it yet: it has not timed out
            connection.recv(1)
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_end_what_is_being_answered(number: int, code: int, model: Path) -> None:
    with started(model, "--trust") as server:
        host, port = server.place.split(":")
        body = json.dumps(ONE)
        with socket.create_connection((host, int(port)), timeout=300) as connection:
            head = (
                f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + body[:-1].encode())
            time.sleep(0.3)
            server.process.send_signal(number)
            time.sleep(0.3)
            connection.sendall(body[-1:].encode())
            reply = b""
            while b"[2.5]" not in reply:
                part = connection.recv(65536)
                assert part, reply
                reply += part
        assert server.process.wait(20) == code


@pytest.mark.slow
@pytest.mark.parametrize("kept", [True, False], ids=["kept connections", "new connections"])
def test_a_signal_drops_no_request(kept: bool, model: Path) -> None:
    ends: list[str] = []
    with started(model, "--trust") as server:
        clients = [
            Thread(target=lambda: ends.append(send_until_refused(server.place, kept)))
            for _ in range(16)
        ]
        for thread in clients:
            thread.start()
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        for thread in clients:
            thread.join()
    assert ends == ["200 until refused"] * 16


def send_until_refused(place: str, kept: bool) -> str:
    """Return how a client ends that sends without a pause and leaves a connection when told to."""
    while True:
        connection = http.client.HTTPConnection(place, timeout=300)
        try:
            connection.connect()
        except OSError:
            return "200 until refused"
        last = False
        while not last:
            try:
                connection.request("POST", PREDICT, json.dumps(ONE))
                reply = connection.getresponse()
                assert (reply.status, bool(reply.read())) == (200, True)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                return repr(error)
            last = not kept or reply.headers.get("Connection") == "close"
        connection.close()


# before it starts


def test_no_version_is_said(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    for folder in (tmp_path / "m", tmp_path / "none"):
        with pytest.raises(UsageError, match="no version there"):
            serve([str(folder)], 0)


@pytest.mark.parametrize("folder", ["saved_models/m/1", "m"])
def test_what_was_meant_is_said(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("saved_models/m/1").mkdir(parents=True)
    Path("saved_models/m/1/saved_model.pb").touch()
    with pytest.raises(UsageError, match=r"no version there .* did you mean saved_models/m\?"):
        serve([folder], 0)


def test_a_port_in_use_is_said(server: Server, model: Path) -> None:
    port = server.place.split(":")[1]
    with pytest.raises(
        UsageError, match=rf"--port {port}: cannot listen at 127.0.0.1: Address already in use"
    ):
        serve([str(model), "--port", port, "--trust"], 0)


@pytest.mark.parametrize("host", ["é" * 70, "a\x85", "no such host"])
def test_a_host_that_has_no_name_is_said(host: str, model: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot listen at .*; give another --host"):
        serve([str(model), "--host", host, "--port", "0", "--trust"], 0)


def test_a_place_open_to_others_is_warned_of(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="Cannot assign requested address; give another --host"):
        serve([str(model), "--host", "192.0.2.1", "--trust"], 0)  # of no machine: RFC 5737
    assert (
        "192.0.2.1 is open to the network, without encryption or password"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("port", ["-1", "99999"])
def test_a_port_that_is_none_is_said(port: str) -> None:
    with pytest.raises(UsageError, match="expected 0 to 65535"):
        serve(["m", "--port", port], 0)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff\xfe\n", b"\0" * 9])
def test_a_token_that_is_none_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UsageError, match="--token-file"):
        serve(["m", "--token-file", str(tmp_path / "token")], 0)
