"""Workers on this machine, each a process with its share of the cores, or a GPU of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from epochal.app.errors import StorageError, TrainingFailed
from epochal.app.tuning.chief import Chief

_DEATHS = 3  # of workers, without a trial ending in between, that end the sweep
_GRACE = 30.0  # seconds to save and end in


class Jobs:
    """Starts workers, starts them again when they die, and ends them.

    They are in sessions of their own: Ctrl-C is for the chief, which asks them to save.
    """

    def __init__(self, folder: Path, chief: Chief, address: str, count: int) -> None:
        self.folder = folder
        self.chief = chief
        self.address = address
        self._shares = shares(count)
        self._processes: dict[str, Any] = {}
        self._deaths = 0
        self._ended = 0

    def keep_up(self) -> None:
        """Starts what does not run; takes the trials of dead workers back.

        Raises:
            StorageError: when a worker could not write.
            TrainingFailed: naming the log, when workers die again and again.
        """
        for number, environment in enumerate(self._shares, 1):
            name = f"worker-{number}"
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                continue
            if process is not None and process.returncode == 0:
                continue  # there was nothing left to do
            if process is not None:
                self._check(name, process.returncode)
            self._processes[name] = self._started(name, environment)

    def end(self) -> None:
        """Asks all workers to save and end, and waits."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        self.wait()

    def wait(self) -> None:
        """Waits until all workers have ended; those that do not are killed."""
        limit = time.monotonic() + _GRACE
        for process in self._processes.values():
            try:
                process.wait(max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _started(self, name: str, environment: dict[str, str]) -> Any:
        command = [
            sys.executable,
            "-P",
            "-m",
            "epochal",
            "tune",
            "--worker",
            self.address,
            "--sweep",
            str(self.folder),
        ]
        with open(self.folder / f"{name}.log", "ab") as log:
            return subprocess.Popen(  # noqa: S603 our own program
                command,
                env={**os.environ, **environment, "KERASTUNER_TUNER_ID": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _check(self, name: str, code: int) -> None:
        """Deals with the death of a worker."""
        log = self.folder / f"{name}.log"
        if code == StorageError.exit_code:
            raise StorageError(
                f"{_last_line(log)} (see {log}), then go on with: epochal tune --resume {self.folder}"
            )
        self.chief.lose(name, f"with exit code {code}")
        ended = len(self.chief.oracle.end_order)
        self._deaths = self._deaths + 1 if ended == self._ended else 1
        self._ended = ended
        if self._deaths >= _DEATHS:
            raise TrainingFailed(
                f"workers died {_DEATHS} times (exit code {code}): {_last_line(log)}; see {log}"
            )


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next(
        (line.removeprefix("error: ") for line in reversed(lines) if line.strip()), "no word"
    )


def shares(count: int) -> list[dict[str, str]]:
    """For each of so many workers the environment with its cores, and its GPU where there is one for each."""
    cores = sorted(os.sched_getaffinity(0))
    graphics = [line for line in _visible_gpus() if line]
    found = []
    for i in range(count):
        own = cores[i::count] or [cores[i % len(cores)]]
        share = {"EPOCHAL_CORES": ",".join(map(str, own)), "EPOCHAL_PARENT": str(os.getpid())}
        if len(graphics) >= count > 1:
            share["CUDA_VISIBLE_DEVICES"] = ",".join(graphics[i::count])
        found.append(share)
    return found


def _visible_gpus() -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return given.split(",")
    return [path.name.removeprefix("nvidia") for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
