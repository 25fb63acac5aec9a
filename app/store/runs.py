"""The folder of runs: a new one's place, and those that are there."""

import errno
import os
import re
from pathlib import Path

from epochal.app.config import Config, is_name
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import files
from epochal.app.store.run import Run
from epochal.app.store.run_files import CONFIG

ROOT = Path("runs")
_SWEEP = "sweep.json"


def claim(name: str, root: Path = ROOT) -> Run:
    """Make root/name, or name-2, name-3, ... where that exists.

    Two processes never get the same folder.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1_000_000):
            folder = root / name
            if number > 1:
                folder = root / f"{name}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            files.sync_folder(root)
            return Run(folder)
    except OSError as error:
        raise StorageError(
            f"cannot make {root}/{name}: {error.strerror}; {files.remedy(error)}"
        ) from error
    raise StorageError(f"{root} holds a million runs called {name}; choose another --name")


def check_writable(root: Path = ROOT) -> None:
    """Raise StorageError where `claim` would fail for want of permission."""
    place = root.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise StorageError(
            f"cannot make a run in {place}: Not a directory; {files.remedy(NotADirectoryError())}"
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot make a run in {place}: Permission denied; "
            f"{files.remedy(PermissionError(errno.EACCES, ''))}"
        )


def find(where: str) -> Run:
    """Return an existing run by its folder or its name under runs/.

    Raises:
        UsageError: naming the runs that exist, or those of a sweep or trial where it is one.
    """
    for folder in (Path(where), ROOT / where):
        _check_no_sweep(folder)
        if (folder / CONFIG).is_file():
            return Run(folder)
    known = ", ".join(folder.name for folder in _folders_by_age()[:5]) or "none yet"
    raise UsageError(
        f"{where}: no run there (a run's folder holds config.yaml); newest runs in {ROOT}/: {known}"
    )


def _check_no_sweep(folder: Path) -> None:
    if (folder / _SWEEP).is_file():
        winner = Run(folder / "winner")
        if winner.finished:
            raise UsageError(
                f"{folder} is a sweep, not a run; give the run of its winner: {winner.folder}"
            )
        raise UsageError(
            f"{folder} is a sweep without a winner yet;"
            f" go on with it: epochal tune --resume {folder}"
        )
    if (folder / "split-1").is_dir():
        raise UsageError(
            f"{folder} is a trial, which has a run for each split;"
            f" give one of them: {folder / 'split-1'}"
        )


def finished() -> list[Run]:
    """Return the finished runs in runs/, those begun last first."""
    runs = []
    for folder in _folders_by_age():
        run = Run(folder)
        if run.finished:
            runs.append(run)
    return runs


def newest() -> Run:
    """Return the run in runs/ that was begun last.

    Raises:
        UsageError: when there is none.
    """
    folders = _folders_by_age()
    if not folders:
        raise UsageError(f"{ROOT}/ holds no run to resume; start one with: epochal train")
    return Run(folders[0])


def _folders_by_age() -> list[Path]:
    """Return the folders in runs/, the newest first."""
    configs = list(ROOT.glob(f"*/{CONFIG}"))
    configs.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent for path in configs]


def default_name(config: Config) -> str:
    """Return DATASET-MODEL in characters that a folder's name may have."""
    text = re.sub(r"[^a-zA-Z0-9._-]", "-", f"{config.dataset_name}-{config.model}")
    name = text.lstrip(".-")[:64] or "run"
    assert is_name(name)
    return name
