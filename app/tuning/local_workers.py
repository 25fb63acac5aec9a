"""Workers on this machine: each a process with its share of the cores, or a GPU of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

from epochal.app.errors import StorageError, TrainingFailed
from epochal.app.tuning.chief import Chief

_DEATHS = 3  # of workers, without a trial ending in between, that end the sweep
_GRACE = 30.0  # seconds to save and end in


class LocalWorkers:
    """Starts workers, starts them again when they die, and ends them.

    They are in sessions of their own: Ctrl-C is for the chief, which asks them to save.

    Args:
        chief: told of those that died.
        address: HOST:PORT of the chief.
        count: of workers.
    """

    def __init__(self, chief: Chief, address: str, count: int) -> None:
        self._chief = chief
        self._sweep = chief.sweep
        self._address = address
        self._environments = worker_environments(count)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._deaths = 0
        self._ended_before = 0

    def restart_dead(self) -> None:
        """Start workers that do not run, but those that ended well; take the trials of dead ones
        back.

        Raises:
            StorageError: when a worker could not write.
            TrainingFailed: naming the log, when workers die again and again.
        """
        for number, environment in enumerate(self._environments, start=1):
            name = f"worker-{number}"
            process = self._processes.get(name)
            if process is not None:
                code = process.poll()
                if not code:  # it runs, or ended well
                    continue
                self._note_death(name, code)
            self._processes[name] = self._start(name, environment)

    def end(self) -> None:
        """Ask all workers to save and end, and wait."""
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        self.wait()

    def wait(self) -> None:
        """Wait until all workers have ended; those that do not are killed."""
        limit = time.monotonic() + _GRACE
        for process in self._processes.values():
            try:
                process.wait(max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", "-m", "epochal", "tune"]
        command += ["--worker", self._address, "--sweep", str(self._sweep.folder)]
        with open(self._sweep.worker_log(name), "ab") as log:
            return subprocess.Popen(  # noqa: S603 our own program
                command,
                env={**os.environ, **environment, "KERASTUNER_TUNER_ID": name},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _note_death(self, name: str, code: int) -> None:
        log = self._sweep.worker_log(name)
        cause = _last_line(log)
        if code == StorageError.exit_code:
            command = f"epochal tune --resume {self._sweep.folder}"
            raise StorageError(f"{cause} (see {log}), then go on with: {command}")
        self._chief.lose_worker(name, f"with exit code {code}")
        ended = self._chief.ended_count
        if ended != self._ended_before:
            self._deaths = 0
            self._ended_before = ended
        self._deaths += 1
        if self._deaths >= _DEATHS:
            raise TrainingFailed(
                f"workers died {_DEATHS} times (exit code {code}): {cause}; see {log}"
            )


def _last_line(log: Path) -> str:
    for line in reversed(log.read_text(errors="replace").split("\n")):
        if line.strip():
            return line.removeprefix("error: ")
    return "no word"


def worker_environments(count: int) -> list[dict[str, str]]:
    """Return for each worker the environment with its cores, and its GPUs where there is one for
    each.
    """
    cores = sorted(os.sched_getaffinity(0))
    gpus = list(filter(None, _visible_gpus()))
    parent = str(os.getpid())
    environments = []
    for worker in range(count):
        share = cores[worker::count]
        if not share:
            share = [cores[worker % len(cores)]]
        environment = {"EPOCHAL_PARENT": parent}
        environment["EPOCHAL_CORES"] = ",".join(map(str, share))
        if len(gpus) >= count > 1:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[worker::count])
        environments.append(environment)
    return environments


def _visible_gpus() -> list[str]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return chosen.split(",")
    gpus = []
    devices = Path("/dev").glob("nvidia[0-9]*")
    for device in sorted(devices):
        gpus.append(device.name.removeprefix("nvidia"))
    return gpus
