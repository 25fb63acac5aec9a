"""The end of a sweep: the leaderboard, TensorBoard's files, the report and, last, the result."""

from __future__ import annotations

from epochal.app.errors import UsageError
from epochal.app.store.sweep import Sweep, SweepResult
from epochal.app.store.trials import COMPLETED, Trial
from epochal.app.tuning.report.hparams import write_hparams
from epochal.app.tuning.report.leaderboard import write_leaderboard
from epochal.app.tuning.report.report import write_sweep_report
from epochal.app.tuning.report.standings import Standings, read_standings
from epochal.app.tuning.report.verdict import make_result

_LISTED = 5  # trials that an error names


def conclude_sweep(sweep: Sweep, *, winner: str | None, seconds: float) -> SweepResult:
    """Write all that shows how a sweep went, and last its result, which is returned.

    Args:
        sweep: all of whose trials have ended.
        winner: the trial that won, None where none completed.
        seconds: of training, all trials' and the winner's last one.

    Raises:
        UsageError: `winner` is no completed trial with a score.
        StorageError: the plan cannot be read, or something not be written.
    """
    standings = read_standings(sweep)
    won = None
    if winner is not None:
        won = _find_completed(standings, winner)
    result = make_result(standings, won, seconds)
    write_leaderboard(standings)
    write_hparams(standings)
    write_sweep_report(standings, won, result)
    sweep.write_result(result)
    return result


def _find_completed(standings: Standings, name: str) -> Trial:
    trial = standings.find(name)
    if trial is not None and trial.status == COMPLETED and trial.score is not None:
        return trial
    completed = [trial.name for trial in standings.having(COMPLETED)]
    names = ", ".join(completed[:_LISTED]) or "none"
    raise UsageError(
        f"winner {name!r} is no completed trial of {standings.sweep.folder}; the best completed "
        f"ones are: {names}"
    )
