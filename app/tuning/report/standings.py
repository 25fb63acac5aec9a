"""The standings of a sweep: its trials by rank at one moment, and what their runs recorded.

A file of a run that is missing or damaged tells nothing, and hides nothing that other files tell.
No TensorFlow here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from epochal.app.errors import StorageError
from epochal.app.store.data_card import DataCard
from epochal.app.store.plan import Plan, Space
from epochal.app.store.result import Result
from epochal.app.store.run import Run
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import COMPLETED, DROPPED, Trial

Curve = dict[int, float]
"""Values by epoch."""


@dataclass(frozen=True, kw_only=True)
class Standings:
    """A sweep's trials at one moment, by rank: completed by score, then dropped by score, then the
    rest.
    """

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

    def split_runs(self, trial: Trial) -> list[Run]:
        """Return a trial's runs, one a split, in order."""
        return self.sweep.split_runs(trial.name)

    def curves(self, trial: Trial, key: str) -> list[Curve]:
        """Return for each split the values of one recorded figure by epoch, without those that are
        not finite.
        """
        return [_read_curve(run, key) for run in self.split_runs(trial)]

    def mean_curve(self, trial: Trial, key: str) -> Curve:
        """Return by epoch the mean over the splits that got so far."""
        values: dict[int, list[float]] = {}
        for curve in self.curves(trial, key):
            for epoch, value in curve.items():
                values.setdefault(epoch, []).append(value)
        means = {}
        for epoch in sorted(values):
            means[epoch] = fmean(values[epoch])
        return means


def read_standings(sweep: Sweep) -> Standings:
    """Read every trial of a sweep.

    Raises:
        StorageError: its plan is missing or damaged.
    """
    return Standings(
        sweep=sweep,
        plan=sweep.plan,
        trials=sweep.ranked_trials(),
    )


def read_result(run: Run) -> Result | None:
    """Return a run's result; None where it is missing or damaged."""
    try:
        return run.result()
    except StorageError:
        return None


def read_data_card(run: Run) -> DataCard | None:
    """Return what a run was trained on; None where the card is missing or damaged."""
    try:
        return run.data_card()
    except StorageError:
        return None


def _read_curve(run: Run, key: str) -> Curve:
    try:
        rows = run.history()
    except StorageError:
        return {}
    curve = {}
    for row in rows:
        epoch = row.get("epoch", math.nan)
        value = row.get(key, math.nan)
        if math.isfinite(epoch) and math.isfinite(value):
            curve[int(epoch)] = value
    return curve
