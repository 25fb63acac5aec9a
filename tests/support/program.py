"""Runs the real command line in processes of its own."""

import csv
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from epochal.app.process.signals import Stop

WALL_CLOCK = {"seconds", "images_per_second", "wall_seconds"}


def start(
    arguments: list[str], folder: Path, *, largest_file: int = resource.RLIM_INFINITY
) -> subprocess.Popen:
    """Start `epochal ARGUMENTS` in `folder`; no file can grow past `largest_file` bytes."""
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "error::UserWarning:epochal",
    }
    command = [sys.executable, "-P", "-m", "epochal", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY)
        ),
    )


def epochal(
    arguments: list[str],
    folder: Path,
    *,
    timeout: float = 1200,
    largest_file: int = resource.RLIM_INFINITY,
) -> subprocess.CompletedProcess:
    """`epochal ARGUMENTS` in `folder`, run to its end."""
    process = start(arguments, folder, largest_file=largest_file)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def stop_when(
    process: subprocess.Popen, reached: Callable[[], bool], number: int, timeout: float = 900
) -> int:
    """Send a signal as soon as `reached()`; return the exit code. Fails if it ends before."""
    deadline = time.monotonic() + timeout
    while not reached():
        assert process.poll() is None, f"ended before it was to be stopped: {process.stderr.read()}"
        assert time.monotonic() < deadline, "never got to where it was to be stopped"
        time.sleep(0.002)
    process.send_signal(number)
    process.stderr_text = process.communicate(timeout=600)[1]
    return process.returncode


def saved(run: Path) -> tuple[int, int]:
    """The place of the newest checkpoint: epochs done and steps of the next one."""
    places = [path.name.split("-") for path in run.glob("checkpoints/epoch-*")]
    return max(((int(epoch), int(step)) for _, epoch, _, step in places), default=(0, 0))


def outcome(run: Path) -> dict:
    """All that a finished run leaves, wall-clock figures aside: equal for equal training."""
    newest = max(run.glob("checkpoints/epoch-*"))
    with open(run / "history.csv", newline="") as file:
        history = [
            {key: row[key] for key in row if key not in WALL_CLOCK} for row in csv.DictReader(file)
        ]
    result = json.loads((run / "result.json").read_text())
    archives = {"state": newest / "arrays.npz", "best": run / "checkpoints/best/arrays.npz"}
    # Digests: where they differ, pytest would take hours to explain a difference of two megabytes.
    return {
        **{key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in archives.items()},
        "history": history,
        **{
            name: (run / f"{name}.jsonl").read_text()
            for name in ("iterations", "gradient_flow", "activations")
        },
        "kept": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in run.glob("best_weights/*")
        },
        "result": {key: value for key, value in result.items() if key not in WALL_CLOCK},
    }


class StopAt:
    """Asks to stop when it is called for the `count`-th time."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


class StopAfter(Stop):
    """Stands for the signals of a process: the user asks to stop at the `count`-th look."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    @contextmanager
    def deferred(self) -> Iterator[Callable[[], bool]]:
        """Yield what tells whether to stop."""
        yield StopAt(self.count)
