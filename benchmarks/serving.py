"""Speed of the server against the bare SavedModel, a handler without batching, and mlserver.

    python benchmarks/serving.py saved_models/NAME [--mlserver PYTHON] [--rounds 5]

Server and bare call have one core, the clients, closed loops in a separate process, the other.
Images are the export's golden ones, as PNG files in base64, to `serving_bytes`. Every round
measures, one after the other:

- start: seconds from the command to `/readyz`, on both cores;
- bare: `signature(batch)` with 64 files at a time in a process without a server, in images/s, and
  its time for one;
- saturated: 8 clients with requests of 64 images each, the server's images/s over the bare one's;
- alone: one client with one image, the median time over the bare call's, in ms;
- crowd: 32 clients with one image each, the server's requests/s over those of a FastAPI handler
that
  calls the signature for each request, and of mlserver (PYTHON must have it and TensorFlow).
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
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SECONDS = 4.0  # that a measurement takes
LARGE = 64  # images in a large request
CROWD = 32  # clients
SCRIPT = Path(__file__)


def main() -> None:
    """Print the medians of the rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mlserver", metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--part", choices=("bare", "load", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--words", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        parts = {"bare": measure_bare_call, "load": load_server, "plain": serve_plainly}
        parts[arguments.part](arguments.folder, arguments.words)
        return
    model = arguments.folder
    version = max(int(path.name) for path in model.iterdir() if path.name.isdigit())
    folder = model / str(version)
    figures: dict[str, list[float]] = {"start, s": []}
    for _ in range(arguments.rounds):
        figures["start, s"].append(measure_start(model))
    with run_servers(model, folder, arguments.mlserver) as places:
        for _ in range(arguments.rounds):
            for name, value in measure_once(folder, places).items():
                figures.setdefault(name, []).append(value)
    for name, values in figures.items():
        median = statistics.median(values)
        print(f"{name:28s} {median:10.2f}   ({min(values):.2f} to {max(values):.2f})")


def measure_start(model: Path) -> float:
    """Return the seconds until a server that is started now is ready."""
    port = find_free_port()
    start = time.perf_counter()
    command = ["epochal", "serve", str(model), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    ready = False
    while not ready:
        try:
            ready = urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status == 200
        except OSError:  # nobody listens yet, or not ready: 503
            time.sleep(0.02)
    seconds = time.perf_counter() - start
    process.terminate()
    process.wait()
    return seconds


def measure_once(folder: Path, places: dict[str, str]) -> dict[str, float]:
    """Return the figures of one round."""
    bare = run_part("bare", folder, "", core=0)
    saturated = load_from_other_core(folder, places["ours"], clients=8, images=LARGE)
    single = load_from_other_core(folder, places["ours"], clients=1, images=1)
    crowd = {}
    for server, place in places.items():
        loops = load_from_other_core(folder, place, clients=CROWD, images=1)
        crowd[server] = loops["rate"]
    figures = {
        "bare images/s": bare["rate"],
        "saturated / bare": saturated["rate"] / bare["rate"],
        "added ms for one image": single["milliseconds"] - bare["milliseconds"],
        "crowd requests/s": crowd["ours"],
    }
    for server in places:
        if server != "ours":
            figures[f"crowd / {server}"] = crowd["ours"] / crowd[server]
    return figures


def load_from_other_core(
    folder: Path, place: str, *, clients: int, images: int
) -> dict[str, float]:
    """Return the figures of `closed_loops`, run in a process on the second core."""
    return run_part("load", folder, f"{place} {clients} {images}", core=1)


def run_part(name: str, folder: Path, words: str, core: int) -> dict[str, float]:
    """Return the figures that a part of this program prints last, in a process on one core."""
    script = [sys.executable, str(SCRIPT), str(folder), "--part", name, "--words", words]
    finished = subprocess.run(
        ["taskset", "-c", str(core), *script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=quiet_environment(),
    )
    return json.loads(finished.stdout.splitlines()[-1])


def quiet_environment() -> dict[str, str]:
    """Return the environment of processes in which TensorFlow logs nothing."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


@contextmanager
def run_servers(model: Path, folder: Path, mlserver: str | None) -> Iterator[dict[str, str]]:
    """Run the servers on the first core; give their places, HOST:PORT/PATH, by name."""
    with tempfile.TemporaryDirectory() as settings_folder:
        port = find_free_port()
        commands = {"ours": ["epochal", "serve", str(model), "--port", str(port)]}
        places = {"ours": f"127.0.0.1:{port}/v1/models/{model.name}:predict"}
        port = find_free_port()
        script = [sys.executable, str(SCRIPT), str(folder), "--part", "plain"]
        commands["plain"] = [*script, "--words", str(port)]
        places["plain"] = f"127.0.0.1:{port}/predict"
        if mlserver:
            port = find_free_port()
            write_mlserver_settings(Path(settings_folder), folder, port)
            program = str(Path(mlserver).with_name("mlserver"))
            commands["mlserver"] = [program, "start", settings_folder]
            places["mlserver"] = f"127.0.0.1:{port}/v2/models/m/infer"
        processes = []
        for command in commands.values():
            process = subprocess.Popen(
                ["taskset", "-c", "0", *command],
                env=quiet_environment(),
                stderr=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            processes.append(process)
        try:
            for place in places.values():
                wait_for(folder, place)
            yield places
        finally:
            for process in processes:
                process.terminate()
                process.wait()


def write_mlserver_settings(settings_folder: Path, folder: Path, port: int) -> None:
    """Write the least that mlserver needs.

    A runtime calls the signature, in mlserver's process, with adaptive batching.
    """
    (settings_folder / "runtime.py").write_text(RUNTIME)
    model = {
        "name": "m",
        "implementation": "runtime.Runtime",
        "parameters": {"uri": str(folder.resolve())},
        "max_batch_size": CROWD,
        "max_batch_time": 0.002,
    }
    server = {
        "http_port": port,
        "grpc_port": find_free_port(),
        "metrics_port": find_free_port(),
        "parallel_workers": 0,
        "debug": False,
        "use_structured_logging": True,
    }
    (settings_folder / "model-settings.json").write_text(json.dumps(model))
    (settings_folder / "settings.json").write_text(json.dumps(server))


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
        if not isinstance(data, list):
            data = data.root
        files = [base64.b64decode(file) for file in data]
        answer = self.model.signatures["serving_bytes"](image_bytes=tf.constant(files))
        probabilities = answer["probabilities"].numpy()
        output = ResponseOutput(
            name="probabilities",
            shape=list(probabilities.shape),
            datatype="FP32",
            data=probabilities.ravel().tolist(),
        )
        return InferenceResponse(model_name="m", outputs=[output])
"""


def find_free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(folder: Path, place: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            asyncio.run(closed_loops(folder, place, 1, 1, seconds=0.1))
            return
        except (OSError, AssertionError, asyncio.IncompleteReadError):
            time.sleep(0.5)
    raise TimeoutError(place)


def read_golden_images(folder: Path) -> list[str]:
    """Return the export's golden images as base64 of PNG files."""
    request = json.loads((folder / "assets.extra/golden.json").read_text())
    return [instance["b64"] for instance in request["instances"]]


def measure_bare_call(folder: Path, words: str) -> None:
    """Print images/s of batches, and the median milliseconds of one image."""
    import base64

    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    files = [base64.b64decode(image) for image in read_golden_images(folder)]

    def measure(batch: list[bytes]) -> float:
        """Return the median seconds of a call."""
        images = tf.constant(batch)
        times: list[float] = []
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end or len(times) < 10:
            start = time.perf_counter()
            signature(image_bytes=images)["probabilities"].numpy()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    rate = LARGE / measure(repeat_to(files, LARGE))
    print(json.dumps({"rate": rate, "milliseconds": 1000 * measure(files[:1])}))


def repeat_to(files: list[Any], count: int) -> list[Any]:
    """Return so many of the files, from the beginning again where they end."""
    return list(islice(cycle(files), count))


def serve_plainly(folder: Path, words: str) -> None:
    """Serve with a FastAPI handler as one writes it first: parse, call, reply.

    Args:
        words: the port.
    """
    import base64

    import fastapi
    import tensorflow as tf
    import uvicorn

    signature = tf.saved_model.load(str(folder)).signatures["serving_bytes"]
    app = fastapi.FastAPI()

    @app.post("/predict")
    def predict(body: dict[str, Any]) -> dict[str, Any]:
        files = [base64.b64decode(instance["b64"]) for instance in body["instances"]]
        answer = signature(image_bytes=tf.constant(files))
        return {"predictions": answer["probabilities"].numpy().tolist()}

    uvicorn.run(app, port=int(words), log_level="error")


def load_server(folder: Path, words: str) -> None:
    """Print the figures of `closed_loops`.

    Args:
        words: the server's place, the number of clients, and of images in a request.
    """
    place, clients, images = words.split()
    figures = asyncio.run(closed_loops(folder, place, int(clients), int(images), SECONDS))
    print(json.dumps(figures))


async def closed_loops(
    folder: Path, place: str, clients: int, images: int, seconds: float
) -> dict[str, float]:
    """Return images/s and the median milliseconds of a request.

    Each client sends its next request when it has the reply to the last one.
    """
    host, _, path = place.partition("/")
    body = make_body(repeat_to(read_golden_images(folder), images), path)
    head = (
        f"POST /{path} HTTP/1.1\r\n"
        f"Host: {host}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "\r\n"
    )
    request = head.encode() + body
    times: list[float] = []
    first_start = time.perf_counter()

    async def run_client() -> None:
        reader, writer = await asyncio.open_connection(*host.split(":"), limit=2**24)
        while time.perf_counter() - first_start < seconds:
            start = time.perf_counter()
            writer.write(request)
            reply_head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            _, _, length = reply_head.partition("content-length:")
            reply = await reader.readexactly(int(length.split()[0]))
            assert reply_head.split()[1] == "200", reply[:200]
            times.append(time.perf_counter() - start)
        writer.close()

    await asyncio.gather(*(run_client() for _ in range(clients)))
    duration = time.perf_counter() - first_start
    return {
        "rate": images * len(times) / duration,
        "milliseconds": 1000 * statistics.median(times),
    }


def make_body(images: list[str], path: str) -> bytes:
    """Return a request for these images in the protocol of the server at a path."""
    request: dict[str, Any]
    if path.startswith("v2"):
        tensor = {
            "name": "image_bytes",
            "shape": [len(images)],
            "datatype": "BYTES",
            "data": images,
        }
        request = {"inputs": [tensor]}
    else:
        instances = [{"b64": image} for image in images]
        request = {"signature_name": "serving_bytes", "instances": instances}
    return json.dumps(request).encode()


if __name__ == "__main__":
    main()
