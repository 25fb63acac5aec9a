"""What stands at the end of a sweep: the leaderboard, TensorBoard's files, the report and, last, result.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from epochal.app.errors import UsageError
from epochal.app.store import files as storage
from epochal.app.tuning.report.hparams import write_hparams
from epochal.app.tuning.report.leaderboard import write_leaderboard
from epochal.app.tuning.report.report import write_sweep_report
from epochal.app.tuning.report.sweep_data import read_sweep
from epochal.app.tuning.report.verdict import result_of


def conclude_sweep(folder: Path, *, winner: str | None, seconds: float) -> dict[str, Any]:
    """Writes `leaderboard.csv`, `tensorboard/`, `report.html` and last `result.json`, which it returns.

    Args:
        folder: of the sweep.
        winner: the trial that won, None where none completed.
        seconds: of training, all trials' and the winner's last one.

    Raises:
        UsageError: `winner` is no completed trial with a score.
        StorageError: sweep.json cannot be read, or something not be written.
    """
    sweep = read_sweep(folder)
    won = sweep.find(winner)
    if winner is not None and (won is None or won.status != "completed" or won.score is None):
        known = ", ".join(trial.trial for trial in sweep.having("completed")[:5]) or "none"
        raise UsageError(
            f"winner {winner!r} is no completed trial of {folder}; the best completed ones are: {known}"
        )
    result = result_of(sweep, won, seconds)
    write_leaderboard(sweep)
    write_hparams(folder)
    write_sweep_report(sweep, won, result)
    storage.write_json(sweep.folder / "result.json", result)
    return result
