"""The folder of a sweep: the one place that knows the names of its files. No TensorFlow here."""

import json
import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from epochal.app.config import Config
from epochal.app.config.files import read_config_file, to_yaml
from epochal.app.errors import StorageError, UsageError
from epochal.app.store import files
from epochal.app.store.plan import Plan
from epochal.app.store.record import (
    MALFORMED,
    number_or_none,
    read_digests,
    read_json,
    whole_or_none,
)
from epochal.app.store.run import Run
from epochal.app.store.run_files import DIGESTS
from epochal.app.store.runs import claim
from epochal.app.store.trials import (
    LOST,
    RUNNING,
    Event,
    Outcome,
    Proposal,
    Trial,
    events_of,
)

ROOT = Path("sweeps")
SCHEMA = 1
_PLAN = "sweep.json"
_CONFIG = "config.yaml"
_RESULT = "result.json"
_TRIAL = "trial.json"
_REPORT = "report.json"
_LISTED = 5  # sweeps that an error names

# Fields of a result.
_NUMBERS = (
    "validation_score",
    "spread",
    "validation_accuracy",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "optimism",
    "seconds",
)
_COUNTS = ("test_count", "trials", "completed", "dropped", "failed", "lost")

_logger = logging.getLogger("epochal.sweep")


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The outcome of a sweep.

    Figures of the winner are None where there is none, or it was not retrained.
    """

    winner: str | None
    values: Mapping[str, Any] | None
    monitor: str
    validation_score: float | None
    spread: float | None
    validation_accuracy: float | None
    test_accuracy: float | None
    test_accuracy_low: float | None
    test_accuracy_high: float | None
    test_count: int | None
    optimism: float | None
    """Accuracy in validation minus that in the test."""
    trials: int
    completed: int
    dropped: int
    failed: int
    lost: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"schema": SCHEMA, **self.__dict__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SweepResult":
        """Return the result that `to_dict` described, also in the form without a schema.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: a value is missing or of the wrong type.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__}
        for name in _NUMBERS:
            known[name] = number_or_none(known[name])
        for name in _COUNTS:
            known[name] = whole_or_none(known[name])
        return cls(**known)


class Sweep:
    """The folder of a sweep: its plan, its base configuration, its trials and their outcomes.

    `begin` makes a new one, `find` an existing one. Chief, workers and report see it alike; nothing
    is cached but the decisions that are made once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(
        cls,
        plan: Plan,
        base: Config,
        name: str,
        root: Path = ROOT,
        *,
        digests: Mapping[str, str] | None = None,
    ) -> "Sweep":
        """Make the folder of a new sweep, root/name or name-2, name-3, ...

        Args:
            plan: the decisions.
            base: the configuration that trials change.
            name: of the folder.
            root: the folder above it.
            digests: of the data set's files by path.
        """
        run = claim(name, root)
        if digests:
            files.write_json(run.folder / DIGESTS, dict(digests))
        files.write_json(run.folder / _PLAN, {**plan.to_dict(), "id": uuid.uuid4().hex})
        # The configuration as it was given, so that each trial has its own optimizer's usual rate
        # where none was; and last: with it the folder is a sweep, which can be resumed.
        files.write_bytes(run.folder / _CONFIG, to_yaml(asdict(base)).encode())
        return cls(run.folder)

    @classmethod
    def find(cls, where: str | None, root: Path = ROOT) -> "Sweep":
        """Return an existing sweep by its folder or its name under `root`; None is the newest.

        Raises:
            UsageError: naming the sweeps that exist.
        """
        plans = list(root.glob(f"*/{_PLAN}"))
        plans.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        known = [path.parent for path in plans]
        candidates = [Path(where), root / where] if where else known[:1]
        for folder in candidates:
            if (folder / _PLAN).is_file() and (folder / _CONFIG).is_file():
                return cls(folder)
        names = ", ".join(folder.name for folder in known[:_LISTED]) or "none yet"
        raise UsageError(
            f"{where or root}: no sweep there (its folder holds {_PLAN});"
            f" newest in {root}/: {names}"
        )

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @cached_property
    def _stored_plan(self) -> Any:
        return read_json(self.folder / _PLAN)

    @cached_property
    def plan(self) -> Plan:
        """The decisions that the sweep was begun with; StorageError when they cannot be read."""
        try:
            return Plan.from_dict(self._stored_plan)
        except MALFORMED as error:
            raise StorageError(
                f"{self.folder / _PLAN} is damaged ({error!r}); start a new sweep"
            ) from error

    @cached_property
    def base(self) -> Config:
        """The configuration that the trials' values change."""
        return read_config_file(self.folder / _CONFIG)

    @property
    def base_text(self) -> str:
        """The text of that configuration, empty where it cannot be read."""
        try:
            return (self.folder / _CONFIG).read_text(
                encoding="utf-8",
                errors="replace",
            )
        except OSError:
            return ""

    @cached_property
    def file_digests(self) -> dict[str, str]:
        """The digests of the data set's files by path; none in a sweep of an earlier version."""
        return read_digests(self.folder / DIGESTS)

    @property
    def identity(self) -> str:
        """The number that only this sweep has; empty for sweeps of earlier versions."""
        stored = self._stored_plan
        if not isinstance(stored, dict):
            raise StorageError(f"{self.folder / _PLAN} is damaged; start a new sweep")
        return str(stored.get("id", ""))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep for this process; RunInUse when another one does."""
        with Run(self.folder).locked():
            yield

    # Trials

    def trial_folder(self, trial: str) -> Path:
        """Return the folder of a trial."""
        return self.folder / "trials" / trial

    def split_run(self, trial: str, split: int) -> Run:
        """Return the run of a trial on one of the splits, counted from 1."""
        return Run(self.trial_folder(trial) / f"split-{split}")

    def split_runs(self, trial: str) -> list[Run]:
        """Return the runs of a trial that exist, by number."""
        numbered = []
        for folder in self.trial_folder(trial).glob("split-*"):
            digits = folder.name.removeprefix("split-")
            if digits.isascii() and digits.isdecimal():
                numbered.append((int(digits), folder))
        return [Run(folder) for _, folder in sorted(numbered)]

    def trials(self) -> dict[str, Trial]:
        """Return all trials that were begun, by name; one whose file is damaged is a lost one."""
        folders = sorted((self.folder / "trials").glob("*"))
        return {folder.name: _read_trial(folder) for folder in folders if _is_trial(folder)}

    def ranked_trials(self) -> tuple[Trial, ...]:
        """Return all trials by rank.

        The completed come first, by score, then the dropped by score, the rest last; ties by name.
        """
        sign = self.plan.sign

        def rank(trial: Trial) -> tuple[int, float, str]:
            if trial.score is None or trial.status not in ("completed", "dropped"):
                return 2, 0.0, trial.name
            return int(trial.status == "dropped"), -sign * trial.score, trial.name

        return tuple(sorted(self.trials().values(), key=rank))

    def record_creation(self, proposal: Proposal) -> None:
        """Store that a trial was handed out for the first time."""
        trial = Trial(
            name=proposal.trial,
            status=RUNNING,
            values=proposal.values,
            until=proposal.until,
            promoted_from=proposal.promoted_from,
            created=self._next_event(),
        )
        self._write_trial(trial)

    def record_end(self, name: str, outcome: Outcome) -> None:
        """Store how a trial ended."""
        trial = replace(_read_trial(self.trial_folder(name)), **outcome.__dict__)
        self._write_trial(replace(trial, ended=self._next_event()))

    def record_loss(self, name: str, values: Mapping[str, Any], events: list[Event]) -> None:
        """Store a trial whose file was damaged under the two numbers of its events.

        So the next resume can read it.
        """
        created, ended = (event.number for event in events if event.trial == name)
        lost = Trial(
            name=name,
            status=LOST,
            values=values,
            message="its file was damaged",
            created=created,
            ended=ended,
        )
        self._write_trial(lost)

    def events(self) -> list[Event]:
        """Return all events in their order; a damaged trial counts as failed, with a warning."""
        trials = self.trials()
        for trial in trials.values():
            if trial.is_damaged:
                path = self.trial_folder(trial.name) / _TRIAL
                _logger.warning(
                    "%s is damaged: trial %s is lost, the others are kept", path, trial.name
                )
        return events_of(trials.values())

    def last_outcomes(self, count: int) -> list[Trial]:
        """Return the trials that ended last, the latest at the end."""
        ended = [trial for trial in self.trials().values() if trial.ended is not None]
        ended.sort(key=lambda trial: trial.ended or 0)
        return ended[-count:]

    def write_outcome(self, trial: str, outcome: Outcome) -> None:
        """Store a worker's report of a trial, for the chief to read."""
        folder = self.trial_folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(folder / _REPORT, outcome.outcome_dict())

    def read_outcome(self, trial: str) -> Outcome | None:
        """Return a worker's report of a trial; None where it is missing or damaged."""
        try:
            return Outcome.from_dict(json.loads((self.trial_folder(trial) / _REPORT).read_bytes()))
        except (OSError, RecursionError, *MALFORMED):
            return None

    def _next_event(self) -> int:
        latest = 0
        for trial in self.trials().values():
            latest = max(latest, trial.created or 0, trial.ended or 0)
        return latest + 1

    def _write_trial(self, trial: Trial) -> None:
        folder = self.trial_folder(trial.name)
        folder.mkdir(parents=True, exist_ok=True)
        written = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        files.write_json(folder / _TRIAL, {**trial.to_dict(), "written": written})

    # What is made of the trials

    @property
    def winner(self) -> Run:
        """The run of the winner, trained again on all training images."""
        return Run(self.folder / "winner")

    @property
    def best_config(self) -> Path:
        """The file of the winner's configuration."""
        return self.folder / "best.yaml"

    @property
    def leaderboard(self) -> Path:
        """The file of all trials by rank."""
        return self.folder / "leaderboard.csv"

    @property
    def report(self) -> Path:
        """The page that shows how the sweep went."""
        return self.folder / "report.html"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.folder / "tensorboard"

    def worker_log(self, worker: str) -> Path:
        """Return the file of what a worker on this machine printed."""
        return self.folder / f"{worker}.log"

    @property
    def is_finished(self) -> bool:
        """Whether the winner was trained again and tested."""
        return (self.folder / _RESULT).exists()

    def write_result(self, result: SweepResult) -> None:
        """Store the result; with it the sweep is finished."""
        files.write_json(self.folder / _RESULT, result.to_dict())

    def result(self) -> SweepResult:
        """Return the stored result; StorageError when it is missing or damaged."""
        stored = read_json(self.folder / _RESULT)
        try:
            return SweepResult.from_dict(stored)
        except MALFORMED as error:
            raise StorageError(f"{self.folder / _RESULT} is damaged ({error!r})") from error


def _is_trial(folder: Path) -> bool:
    """Whether a folder has a trial's number for its name, and a file or run of one."""
    is_number = folder.name.isascii() and folder.name.isdigit()
    return is_number and ((folder / _TRIAL).exists() or any(folder.glob("split-*")))


def _read_trial(folder: Path) -> Trial:
    try:
        record = json.loads((folder / _TRIAL).read_bytes())
        if record["trial"] != folder.name:
            raise ValueError(f"a record of trial {record['trial']}")
        return Trial.from_dict(record)
    except (OSError, RecursionError, *MALFORMED):
        return Trial.lost(folder.name)
