"""One trial: a configuration trained and scored on every split, each an ordinary run."""

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from epochal.app.config import Config
from epochal.app.config.splits import Fold, Splits
from epochal.app.errors import EpochalError, RunInUse, StorageError
from epochal.app.store import files as storage
from epochal.app.store.result import Result
from epochal.app.store.run import Run
from epochal.app.store.trials import Records
from epochal.app.training.train import train_at
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.selection import clearly_worse, ranked
from epochal.app.tuning.space import changed

REPORT = "report.json"
_WAIT = 2.0  # seconds between looks at a run that a worker still holds


def run_trial(folder: Path, plan: Plan, base: Config, asked: dict[str, Any]) -> None:
    """Trains a trial, or goes on with it, and leaves its report beside its runs.

    Args:
        folder: the sweep's.
        plan: the sweep's.
        base: the configuration that the trial's values change.
        asked: `trial` (its number), `values`, and for Hyperband `until` (epochs) and `goes_on_from` (a trial or None).

    Raises:
        StorageError: when something cannot be written.
        KeyboardInterrupt: when this process was asked to stop; the trial's runs are saved.
    """
    began = time.monotonic()
    records = Records(folder)
    place = records.place(asked["trial"])
    try:
        report = _scored(records, plan, changed(base, asked["values"]), asked)
    except StorageError:  # the disk's fault, not the trial's
        raise
    except (EpochalError, tf.errors.OpError, MemoryError, ValueError, TypeError) as error:
        text = " ".join(str(error).split())[:500]
        message = text if isinstance(error, EpochalError) else f"{type(error).__name__}: {text}"
        seconds = round(time.monotonic() - began, 2)
        report = {
            "status": "failed",
            "score": None,
            "scores": [],
            "message": message,
            "seconds": seconds,
        }
    place.mkdir(parents=True, exist_ok=True)
    storage.write_json(place / REPORT, report)


def _scored(records: Records, plan: Plan, config: Config, asked: dict[str, Any]) -> dict[str, Any]:
    splits = Splits.of(plan.splits)
    results = []
    before = 0.0
    dropping = plan.algorithm != "hyperband"  # which drops by rungs, and needs every split to go on
    for number in range(1, splits.count + 1):
        run = Run(records.place(asked["trial"]) / f"split-{number}")
        if asked.get("goes_on_from"):
            origin = Run(records.place(asked["goes_on_from"]) / run.folder.name)
            before += origin.result().wall_seconds
            promote(origin, run)
        results.append(_trained(run, _of_split(config, splits, number, asked.get("until"))))
        scores = [_score(result, plan.monitor) for result in results]
        if dropping and number < splits.count and _hopeless(scores, records, plan):
            break
    return {
        "status": "completed" if len(results) == splits.count else "dropped",
        "score": statistics.mean(scores),
        "scores": scores,
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "epochs": [result.best_epoch for result in results],
        "weights": results[0].params,
        "seconds": round(sum(result.wall_seconds for result in results) - before, 2),
        "message": None,
    }


def _score(result: Result, monitor: str) -> float:
    """The figure of validation that trials are compared by."""
    assert result.validation is not None
    if monitor == "val_loss":
        return result.validation.loss
    return result.validation.accuracy


def _of_split(config: Config, splits: Splits, number: int, until: int | None) -> Config:
    """The configuration of a trial's run on one split, up to so many epochs."""
    name = None if splits.kind == "holdout" else str(Fold(splits, number))
    data = replace(config.data, split=name)
    stopping = replace(config.stopping, after=until)
    return replace(config, name=None, data=data, stopping=stopping)


def promote(origin: Run, run: Run) -> None:
    """Makes a run that goes on where another one ended: all of it but what stands at a run's end."""
    if run.folder.exists():
        return
    origin.copy_unfinished(run.folder)


def _trained(run: Run, config: Config) -> Result:
    """The run's result; waits while another worker, thought dead, still holds it."""
    while True:
        try:
            return train_at(run, config, test=False)
        except RunInUse:
            time.sleep(_WAIT)


def _hopeless(scores: list[float], records: Records, plan: Plan) -> bool:
    """Whether the scores so far are clearly worse than those of the best trial so far on the same splits."""
    order = ranked([record for record in records.all().values() if record], plan.monitor)
    return bool(order) and clearly_worse(scores, order[0]["scores"], plan.monitor)


def read_report(place: Path) -> dict[str, Any] | None:
    """What a trial's worker left at its end; None where it is missing or damaged."""
    try:
        report = json.loads((place / REPORT).read_bytes())
        return report if isinstance(report, dict) and "score" in report else None
    except (OSError, ValueError):
        return None
