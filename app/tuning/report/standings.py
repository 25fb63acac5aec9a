"""The standings of a sweep: its trials by rank at one moment, and what their runs recorded. No TensorFlow here."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from epochal.app.store.plan import Plan, Space
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import COMPLETED, DROPPED, Trial, finite_or_none


@dataclass(frozen=True, kw_only=True)
class Standings:
    """A sweep's trials at one moment, by rank: completed by score, then dropped by score, then the rest."""

    sweep: Sweep
    plan: Plan
    trials: Sequence[Trial]

    @property
    def space(self) -> Space:
        """The ranges that are searched."""
        return self.plan.space

    @property
    def sign(self) -> int:
        """+1 where a larger score is better, -1 where a smaller one is."""
        return self.plan.sign

    def having(self, *statuses: str) -> list[Trial]:
        """Return the trials with one of the statuses, by rank."""
        return [trial for trial in self.trials if trial.status in statuses]

    @property
    def scored(self) -> list[Trial]:
        """The trials that ended with a score, by rank."""
        return [trial for trial in self.having(COMPLETED, DROPPED) if trial.score is not None]

    def find(self, name: str | None) -> Trial | None:
        """Return the trial of that name."""
        for trial in self.trials:
            if trial.name == name:
                return trial
        return None

    def split_folders(self, trial: Trial) -> list[Path]:
        """Return the folders of a trial's runs, one a split, in order."""
        return [run.folder for run in self.sweep.split_runs(trial.name)]

    def curves(self, trial: Trial, key: str) -> list[dict[int, float]]:
        """Return for each split the values of one recorded figure by epoch, without those that are not finite."""
        return [_read_curve(folder / "history.csv", key) for folder in self.split_folders(trial)]

    def mean_curve(self, trial: Trial, key: str) -> dict[int, float]:
        """Return by epoch the mean over the splits that got so far."""
        values: dict[int, list[float]] = {}
        for curve in self.curves(trial, key):
            for epoch, value in curve.items():
                values.setdefault(epoch, []).append(value)
        return {epoch: fmean(values[epoch]) for epoch in sorted(values)}


def read_standings(sweep: Sweep) -> Standings:
    """Read every trial of a sweep.

    Raises:
        StorageError: its plan is missing or damaged.
    """
    plan = sweep.plan
    return Standings(
        sweep=sweep,
        plan=plan,
        trials=sweep.ranked_trials(),
    )


def read_result(folder: Path) -> dict[str, Any]:
    """Return a run's result; empty where it is missing or damaged."""
    return _read_mapping(folder / "result.json")


def training_images(folder: Path) -> int | None:
    """Return the number of images that a run trained on in an epoch, where its data card tells."""
    counts = _read_mapping(folder / "data.json").get("counts")
    images = counts.get("train") if isinstance(counts, dict) else None
    return images if isinstance(images, int) else None


def class_count(folder: Path) -> int | None:
    """Return the number of classes of a run's images, where its data card tells."""
    classes = _read_mapping(folder / "data.json").get("classes")
    return len(classes) if isinstance(classes, list) and classes else None


def _read_curve(path: Path, key: str) -> dict[int, float]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return {}
    curve = {}
    for row in rows:
        epoch = finite_or_none(row.get("epoch"))
        value = finite_or_none(row.get(key))
        if epoch is not None and value is not None:
            curve[int(epoch)] = value
    return curve


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
