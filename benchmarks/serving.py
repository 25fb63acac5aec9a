"""The server against the bare SavedModel, a handler without batching, and mlserver: ratios of one run.

    python benchmarks/serving.py saved_models/NAME [--mlserver PYTHON] [--rounds 5]

Server and bare call have one core, the clients, closed loops in a process of their own, the other. Images are the
export's golden ones, as PNG files in base64, to `serving_bytes`. Every round measures, one after the other:

- start: seconds from the command to `/readyz`, on both cores;
- bare: `signature(batch)` with 64 files at a time in a process without a server, in images/s, and its time for one;
- saturated: 8 clients with requests of 64 images each, the server's images/s over the bare one's;
- alone: one client with one image, the median time over the bare call's, in ms;
- crowd: 32 clients with one image each, the server's requests/s over those of a FastAPI handler that calls the
  signature for each request, and of mlserver (PYTHON must have it and TensorFlow).
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 4.0  # of a measurement
LARGE = 64
CROWD = 32
HERE = Path(__file__)


def main() -> None:
    """Prints the medians of the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mlserver", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=("bare", "load", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--more", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        {"bare": bare, "load": load, "plain": plain}[asked.part](asked.folder, asked.more)
        return
    folder = asked.folder / str(
        max(int(path.name) for path in asked.folder.iterdir() if path.name.isdigit())
    )
    starts = [{"start, s": cold(asked.folder)} for _ in range(asked.rounds)]
    with started(asked.folder, folder, asked.mlserver) as places:
        rounds = [start | one_round(folder, places) for start in starts]
    for name in rounds[0]:
        values = sorted(one[name] for one in rounds)
        print(
            f"{name:28s} {statistics.median(values):10.2f}   ({values[0]:.2f} to {values[-1]:.2f})"
        )


def cold(model: Path) -> float:
    """Seconds until a server that is started now is ready."""
    port = free_port()
    began = time.perf_counter()
    command = ["epochal", "serve", str(model), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    ready = False
    while not ready:
        try:
            ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status == 200
        except OSError:  # nobody listens yet, or not ready: 503
            time.sleep(0.02)
    seconds = time.perf_counter() - began
    process.terminate()
    process.wait()
    return seconds


def one_round(folder: Path, places: dict[str, str]) -> dict[str, float]:
    """Every measurement once."""
    alone = json.loads(part("bare", folder, "", core=0))
    large = loaded(folder, places["ours"], clients=8, images=LARGE)
    single = loaded(folder, places["ours"], clients=1, images=1)
    found = {
        "bare images/s": alone["rate"],
        "saturated / bare": large["rate"] / alone["rate"],
        "added ms for one image": single["milliseconds"] - alone["milliseconds"],
    }
    crowd = {
        who: loaded(folder, place, clients=CROWD, images=1)["rate"] for who, place in places.items()
    }
    found["crowd requests/s"] = crowd["ours"]
    return found | {
        f"crowd / {who}": crowd["ours"] / rate for who, rate in crowd.items() if who != "ours"
    }


def loaded(folder: Path, place: str, *, clients: int, images: int) -> dict[str, float]:
    """What closed loops get from a server."""
    return json.loads(part("load", folder, f"{place} {clients} {images}", core=1))


def part(name: str, folder: Path, more: str, core: int) -> str:
    """The last line that a part of this program prints, in a process on one core."""
    command = [
        "taskset",
        "-c",
        str(core),
        sys.executable,
        str(HERE),
        str(folder),
        "--part",
        name,
        "--more",
        more,
    ]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=quiet
    )
    return done.stdout.splitlines()[-1]


@contextmanager
def started(model: Path, folder: Path, mlserver: str | None) -> Iterator[dict[str, str]]:
    """The servers' places, HOST:PORT/PATH, by name."""
    ports = {who: free_port() for who in ("ours", "plain", "mlserver")}
    me = [sys.executable, str(HERE), str(folder), "--part", "plain", "--more", str(ports["plain"])]
    commands = {"ours": ["epochal", "serve", str(model), "--port", str(ports["ours"])], "plain": me}
    paths = {
        "ours": f"/v1/models/{model.name}:predict",
        "plain": "/predict",
        "mlserver": "/v2/models/m/infer",
    }
    with tempfile.TemporaryDirectory() as beside:
        if mlserver:
            settings(Path(beside), folder, ports["mlserver"])
            commands["mlserver"] = [str(Path(mlserver).with_name("mlserver")), "start", beside]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        running = [
            subprocess.Popen(
                ["taskset", "-c", "0", *command],
                env=quiet,
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            for command in commands.values()
        ]
        places = {who: f"127.0.0.1:{ports[who]}{paths[who]}" for who in commands}
        try:
            for place in places.values():
                wait_for(folder, place)
            yield places
        finally:
            for process in running:
                process.terminate()
                process.wait()


def settings(beside: Path, folder: Path, port: int) -> None:
    """The least that mlserver needs: a runtime that calls the signature, in its own process, with adaptive batching."""
    (beside / "runtime.py").write_text(RUNTIME)
    model = {
        "name": "m",
        "implementation": "runtime.Runtime",
        "parameters": {"uri": str(folder.resolve())},
        "max_batch_size": CROWD,
        "max_batch_time": 0.002,
    }
    server = {
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    (beside / "model-settings.json").write_text(json.dumps(model))
    (beside / "settings.json").write_text(
        json.dumps({**server, "debug": False, "use_structured_logging": True})
    )


RUNTIME = """
import base64
import tensorflow as tf
from mlserver import MLModel
from mlserver.types import InferenceResponse, ResponseOutput


class Runtime(MLModel):
    async def load(self):
        self.model = tf.saved_model.load(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        data = payload.inputs[0].data
        files = [base64.b64decode(one) for one in (data if isinstance(data, list) else data.root)]
        answer = self.model.signatures["serving_bytes"](image_bytes=tf.constant(files))
        found = answer["probabilities"].numpy()
        shape, data = list(found.shape), found.ravel().tolist()
        output = ResponseOutput(name="probabilities", shape=shape, datatype="FP32", data=data)
        return InferenceResponse(model_name="m", outputs=[output])
"""


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(folder: Path, place: str) -> None:
    """Returns once a server answers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            asyncio.run(closed_loops(folder, place, 1, 1, seconds=0.1))
            return
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            time.sleep(0.5)
    raise TimeoutError(place)


def golden(folder: Path) -> list[str]:
    """Base64 of the export's golden images."""
    request = json.loads((folder / "assets.extra/golden.json").read_text())
    return [one["b64"] for one in request["instances"]]


def bare(folder: Path, more: str) -> None:
    """Prints images/s of batches, and the median milliseconds of one image."""
    import base64

    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    files = [base64.b64decode(one) for one in golden(folder)]
    large = tf.constant([files[i % len(files)] for i in range(LARGE)])
    one = tf.constant(files[:1])
    seconds = {}
    for name, batch in (("large", large), ("one", one)):
        taken: list[float] = []
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS or len(taken) < 10:
            start = time.perf_counter()
            signature(image_bytes=batch)["probabilities"].numpy()
            taken.append(time.perf_counter() - start)
        seconds[name] = statistics.median(taken)
    print(json.dumps({"rate": LARGE / seconds["large"], "milliseconds": 1000 * seconds["one"]}))


def plain(folder: Path, port: str) -> None:
    """A FastAPI handler as one writes it first: parse, call, reply."""
    import base64

    import fastapi
    import tensorflow as tf
    import uvicorn

    signature = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    app = fastapi.FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        files = [base64.b64decode(one["b64"]) for one in body["instances"]]
        answer = signature(image_bytes=tf.constant(files))
        return {"predictions": answer["probabilities"].numpy().tolist()}

    uvicorn.run(app, port=int(port), log_level="error")


def load(folder: Path, more: str) -> None:
    """Prints images/s and the median milliseconds of a request of closed loops."""
    place, clients, images = more.split()
    print(json.dumps(asyncio.run(closed_loops(folder, place, int(clients), int(images), SECONDS))))


async def closed_loops(
    folder: Path, place: str, clients: int, images: int, seconds: float
) -> dict[str, float]:
    """Clients that each send their next request when they have the reply to the last one."""
    host, _, path = place.partition("/")
    body = request(golden(folder), images, path)
    lines = [
        f"POST /{path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    head = "\r\n".join([*lines, "", ""])
    taken: list[float] = []
    began = time.perf_counter()

    async def one() -> None:
        reader, writer = await asyncio.open_connection(*host.split(":"), limit=2**24)
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            writer.write(head.encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            length = next(
                int(line.split(":")[1]) for line in lines if line.startswith("content-length")
            )
            reply = await reader.readexactly(length)
            assert lines[0].split()[1] == "200", reply[:200]
            taken.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    whole = time.perf_counter() - began
    return {"rate": images * len(taken) / whole, "milliseconds": 1000 * statistics.median(taken)}


def request(files: list[str], images: int, path: str) -> bytes:
    """So many images, in the words of the server at a path."""
    chosen = [files[i % len(files)] for i in range(images)]
    if path.startswith("v2"):
        value: Any = {
            "inputs": [
                {"name": "image_bytes", "shape": [images], "datatype": "BYTES", "data": chosen}
            ]
        }
    else:
        value = {"signature_name": "serving_bytes", "instances": [{"b64": one} for one in chosen]}
    return json.dumps(value).encode()


if __name__ == "__main__":
    main()
