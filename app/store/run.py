"""One run's folder: claimed by an atomic mkdir, locked, and everything about the run inside. No TensorFlow here."""

import csv
import fcntl
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from epochal.app.config import Config, is_name
from epochal.app.errors import RunInUse, StorageError, UsageError
from epochal.app.process.log import log_file
from epochal.app.store import files as storage

ROOT = Path("runs")
_LOCK = ".lock"
_PACKAGES = (
    "epochal",
    "tensorflow",
    "keras",
    "numpy",
    "tensorflow-datasets",
    "scikit-learn",
    "pillow",
)


@dataclass(frozen=True)
class Run:
    """The folder of one training run; `claim` makes a new one, `find` an existing one."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are published."""
        return self.folder / "checkpoints"

    def make(self) -> None:
        """Makes the folder where there is none yet; StorageError when it cannot be made."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot make {self.folder}: {error.strerror}; {storage.remedy(error)}"
            ) from error

    def write_json(self, name: str, value: Any) -> None:
        """Puts a JSON file into the run's folder."""
        storage.write_json(self.folder / name, value)

    def read_json(self, name: str) -> Any:
        """Reads a JSON file of the run; StorageError when it is missing or damaged."""
        path = self.folder / name
        try:
            return json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StorageError(
                f"{path} is missing or damaged; the run cannot be used without it"
            ) from error

    def write_config(self, config: Config) -> None:
        """Stores the resolved configuration: `epochal train --config` of that file reruns the experiment."""
        text = dump(config.to_dict())
        storage.write_bytes(self.folder / "config.yaml", text.encode())

    @property
    def finished(self) -> bool:
        """Whether training and evaluation ended well."""
        return (self.folder / "result.json").exists()

    def check_finished(self) -> None:
        """Raises UsageError when there are no final weights yet, RunInUse while they are being made."""
        if not self.finished:
            with (
                suppress(OSError),
                self.locked(),
            ):  # a folder that cannot be written to is nobody's just now
                pass
            raise UsageError(
                f"{self.folder} has not finished training; run: epochal train --resume {self.folder}"
            )

    def last_rate(self) -> float:
        """The learning rate of the last step, to seven digits; StorageError when history.csv does not tell."""
        path = self.folder / "history.csv"
        try:
            with open(path, newline="", encoding="utf-8") as file:
                return float(f"{float(list(csv.DictReader(file))[-1]['learning_rate']):.7g}")
        except (OSError, ValueError, LookupError, TypeError, csv.Error) as error:
            raise StorageError(
                f"{path} is missing or damaged: it does not tell the last learning rate"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process, and its log.txt takes the run's messages; the kernel lets go however it ends.

        Raises:
            RunInUse: naming the process that holds it.
        """
        with open(self.folder / _LOCK, "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise RunInUse(
                    f"{self.folder} is in use by {file.read().strip()}; wait or stop that process"
                ) from None
            file.truncate(0)
            file.write(
                f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )
            file.flush()
            with log_file(self.folder / "log.txt"):
                yield


def claim(name: str, root: Path = ROOT) -> Run:
    """Makes root/name, or name-2, name-3, ... where that exists; two processes never get the same folder."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1_000_000):
            folder = root / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            storage.sync_folder(root)
            return Run(folder)
    except OSError as error:
        raise StorageError(
            f"cannot make {root}/{name}: {error.strerror}; {storage.remedy(error)}"
        ) from error
    raise StorageError(f"{root} holds a million runs called {name}; choose another --name")


def check_writable(root: Path = ROOT) -> None:
    """Raises StorageError where `claim` would fail for want of permission."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise StorageError(
            f"cannot make a run in {place}: Not a directory; {storage.remedy(NotADirectoryError())}"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot make a run in {place}: Permission denied; change the permissions or the folder"
        )


def find(where: str) -> Run:
    """An existing run by its folder or its name under runs/.

    Raises:
        UsageError: naming the runs that exist, or those of a sweep or trial where it is one.
    """
    for folder in (Path(where), ROOT / where):
        _check_no_sweep(folder)
        if (folder / "config.yaml").is_file():
            return Run(folder)
    known = ", ".join(folder.name for folder in _by_age()[:5]) or "none yet"
    raise UsageError(
        f"{where}: no run there (a run's folder holds config.yaml); newest runs in {ROOT}/: {known}"
    )


def _check_no_sweep(folder: Path) -> None:
    if (folder / "sweep.json").is_file():
        winner = Run(folder / "winner")
        if winner.finished:
            raise UsageError(
                f"{folder} is a sweep, not a run; give the run of its winner: {winner.folder}"
            )
        raise UsageError(
            f"{folder} is a sweep without a winner yet; go on with it: epochal tune --resume {folder}"
        )
    if (folder / "split-1").is_dir():
        raise UsageError(
            f"{folder} is a trial, which has a run for each split; give one of them: {folder / 'split-1'}"
        )


def finished() -> list[Run]:
    """The finished runs in runs/, those begun last first."""
    return [run for folder in _by_age() if (run := Run(folder)).finished]


def newest() -> Run:
    """The run in runs/ that was begun last.

    Raises:
        UsageError: when there is none.
    """
    folders = _by_age()
    if not folders:
        raise UsageError(f"{ROOT}/ holds no run to resume; start one with: epochal train")
    return Run(folders[0])


def _by_age() -> list[Path]:
    configs = sorted(
        ROOT.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    return [path.parent for path in configs]


def judged_on(result: dict[str, Any]) -> str:
    """The split whose figures tell how good a run is: test, or validation where test was not evaluated."""
    return "test" if "test_accuracy" in result else "validation"


def learned(result: dict[str, Any]) -> bool:
    """Whether the run is better than guessing the commonest class; runs of versions that did not store that are not."""
    split = judged_on(result)
    return bool(result[f"{split}_accuracy_low"] > result.get(f"{split}_chance", 1.0))


def default_name(config: Config) -> str:
    """DATASET-MODEL, made of characters that a folder's name may have."""
    dataset = Path(config.dataset.rstrip("/")).name if "/" in config.dataset else config.dataset
    text = "".join(
        c if c.isascii() and (c.isalnum() or c in "._-") else "-"
        for c in f"{dataset}-{config.model}"
    )
    name = text.lstrip(".-")[:64] or "run"
    assert is_name(name)
    return name


def environment() -> dict[str, Any]:
    """What a rerun should know about this machine and its libraries; nothing secret."""
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def dump(values: dict[str, Any]) -> str:
    """A configuration as YAML, keys in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
