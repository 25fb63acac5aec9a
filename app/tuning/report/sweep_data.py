"""What a sweep left in its folder, as plain values; one damaged file never hides the others. No TensorFlow here."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from epochal.app.errors import StorageError
from epochal.app.store.run import Run

ENDED = ("completed", "dropped", "failed", "lost")
STATUSES = (*ENDED, "running")
UNREADABLE = "trial.json is missing or damaged"


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One dimension of the space."""

    name: str
    """Dotted, as in the configuration."""
    kind: str
    """linear, log, int or choice."""
    low: float | None = None
    high: float | None = None
    values: tuple[Any, ...] = ()
    """Of a choice."""

    def place(self, value: Any) -> int | None:
        """Which of the choices a value is: 1.0 is 1, but True is not; None where it is none of them."""
        known = ((isinstance(choice, bool), choice) for choice in self.values)
        return next(
            (
                place
                for place, choice in enumerate(known)
                if choice == (isinstance(value, bool), value)
            ),
            None,
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One point of the space and what became of it."""

    trial: str
    folder: Path
    status: str
    """One of `STATUSES`: dropped ones were clearly worse than the best after some of the splits."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Active hyperparameters only."""
    scores: tuple[float, ...] = ()
    """Of each split that is done."""
    epochs: tuple[int, ...] = ()
    """The best one of each split."""
    score: float | None = None
    spread: float | None = None
    """Sample standard deviation of the scores."""
    seconds: float = 0.0
    weights: int | None = None
    message: str | None = None
    goes_on_from: str | None = None
    """The trial whose training this one continued."""
    created: float | None = None
    ended: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep so far."""

    folder: Path
    algorithm: str
    planned: int
    """Trials that it will have had."""
    splits: str
    select: str
    seed: int
    monitor: str
    """What a score is: val_accuracy, or val_loss, of which less is better."""
    space: tuple[Hyperparameter, ...]
    trials: tuple[Trial, ...]
    """By rank: completed by score, then dropped by score, then the rest, the earlier one first in a tie."""

    @property
    def sign(self) -> int:
        """+1 where more is better, -1 where less is."""
        return -1 if self.monitor == "val_loss" else 1

    def having(self, *statuses: str) -> list[Trial]:
        """The trials with such a status, by rank."""
        return [trial for trial in self.trials if trial.status in statuses]

    @property
    def scored(self) -> list[Trial]:
        """The trials that ended with a score, by rank."""
        return [trial for trial in self.having("completed", "dropped") if trial.score is not None]

    def find(self, name: str | None) -> Trial | None:
        """The trial of that name."""
        return next((trial for trial in self.trials if trial.trial == name), None)


def read_sweep(folder: Path) -> Sweep:
    """Reads `sweep.json` and every `trials/*/trial.json`; a trial that cannot be read is a lost one.

    Raises:
        StorageError: sweep.json is missing or damaged.
    """
    folder = Path(folder)
    found = Run(folder).read_json("sweep.json")
    try:
        monitor = str(found["monitor"])
        return Sweep(
            folder=folder,
            algorithm=str(found["algorithm"]),
            planned=int(found["trials"]),
            splits=str(found["splits"]),
            select=str(found["select"]),
            seed=int(found["seed"]),
            monitor=monitor,
            space=tuple(map(_hyperparameter, found["space"])),
            trials=_ranked(
                map(_trial, sorted((folder / "trials").glob("[!.]*/"))), less=monitor == "val_loss"
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{folder / 'sweep.json'} is damaged ({error!r}); the sweep cannot be read"
        ) from error


def read_result(folder: Path) -> dict[str, Any]:
    """A run's result.json; empty where it is missing or damaged."""
    return _json(folder / "result.json")


def images_in(folder: Path) -> int | None:
    """How many images a run trained on in an epoch, where data.json tells."""
    counts = _json(folder / "data.json").get("counts")
    found = counts.get("train") if isinstance(counts, dict) else None
    return found if isinstance(found, int) else None


def classes_in(folder: Path) -> int | None:
    """How many classes a run's images have, where data.json tells."""
    found = _json(folder / "data.json").get("classes")
    return len(found) if isinstance(found, list) and found else None


def curves_of(trial: Trial, key: str) -> list[dict[int, float]]:
    """Of each split: what `history.csv` says of `key` by epoch; what is not a finite number is left out."""
    return [
        _curve(split / "history.csv", key)
        for split in sorted(trial.folder.glob("split-*"), key=_number)
    ]


def _curve(path: Path, key: str) -> dict[int, float]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return {}
    curve = {}
    for row in rows:
        epoch = _finite(row.get("epoch"))
        value = _finite(row.get(key))
        if epoch is not None and value is not None:
            curve[int(epoch)] = value
    return curve


def _number(folder: Path) -> tuple[int, str]:
    """`split-10` comes after `split-9`."""
    digits = folder.name.rpartition("-")[2]
    return (int(digits) if digits.isdecimal() else 0), folder.name


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _hyperparameter(found: Mapping[str, Any]) -> Hyperparameter:
    low = found.get("low")
    high = found.get("high")
    return Hyperparameter(
        name=str(found["name"]),
        kind=str(found["kind"]),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        values=tuple(found.get("values") or ()),
    )


def _trial(folder: Path) -> Trial:
    try:
        return _read_trial(folder, json.loads((folder / "trial.json").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Trial(trial=folder.name, folder=folder, status="lost", message=UNREADABLE)


def _read_trial(folder: Path, found: Mapping[str, Any]) -> Trial:
    status = found["status"]
    if status not in STATUSES:
        raise ValueError(status)
    message = found.get("message")
    origin = found.get("goes_on_from")
    return Trial(
        trial=folder.name,
        folder=folder,
        status=status,
        values={str(name): value for name, value in found["values"].items() if value is not None},
        scores=tuple(float(score) for score in found.get("scores") or ()),
        epochs=tuple(int(epoch) for epoch in found.get("epochs") or ()),
        score=_finite(found.get("score")),
        spread=_finite(found.get("spread")),
        seconds=_finite(found.get("seconds")) or 0.0,
        weights=None if found.get("weights") is None else int(found["weights"]),
        message=None if message is None else str(message),
        goes_on_from=None if origin is None else str(origin),
        created=_finite(found.get("created")),
        ended=_finite(found.get("ended")),
    )


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _ranked(trials: Iterable[Trial], *, less: bool) -> tuple[Trial, ...]:
    def key(trial: Trial) -> tuple[int, float, str]:
        if trial.score is None or trial.status not in ("completed", "dropped"):
            return 2, 0.0, trial.trial
        return int(trial.status == "dropped"), trial.score if less else -trial.score, trial.trial

    return tuple(sorted(trials, key=key))
