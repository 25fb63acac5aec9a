"""The leaderboard: the trials by rank, as a file for programs and as a few lines for the terminal."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable
from statistics import median

from epochal.app.evaluation.figures import printable
from epochal.app.store import files
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import DROPPED, ENDED, FAILED, LOST
from epochal.app.tuning.report.formatting import plain, score, settings
from epochal.app.tuning.report.standings import Standings, read_standings

_COUNTED = (DROPPED, FAILED, LOST)  # statuses that the line of progress names

_logger = logging.getLogger("epochal.sweep")


class LeaderboardDisplay:
    """Shows the leaderboard again and again: on a terminal each time in the place of the last one.

    Args:
        sweep: whose trials are shown.
        jobs: trials that run at once.
        width: called for the letters that the terminal's lines have; None where there is no terminal.
    """

    def __init__(self, sweep: Sweep, *, jobs: int, width: Callable[[], int | None]) -> None:
        self._sweep = sweep
        self._jobs = jobs
        self._width = width
        self._lines_before = 0

    def show(self, _: str) -> None:
        """Show the standings of this moment, after a trial ended."""
        width = self._width()
        text = leaderboard_text(read_standings(self._sweep), width=width, jobs=self._jobs)
        erase = ""
        if width is not None and self._lines_before:
            erase = f"\x1b[{self._lines_before}F\x1b[J"
        _logger.info("%s%s", erase, text)
        self._lines_before = text.count("\n") + 1


def write_leaderboard(standings: Standings) -> None:
    """Write the trials by rank into the sweep's folder."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(leaderboard_rows(standings))
    files.write_bytes(standings.sweep.leaderboard, text.getvalue().encode())


def leaderboard_rows(standings: Standings) -> list[list[str]]:
    """Return rows by rank, the heads first: what is inactive or unknown is empty, numbers have all their digits."""
    splits = max((len(trial.scores) for trial in standings.trials), default=0)
    names = [searched.name for searched in standings.space]
    heads = ["rank", "trial", "status", "score", "spread"]
    heads += [f"score_{split}" for split in range(1, splits + 1)]
    heads += ["best_epoch", "seconds", "weights", *names]
    rows = [heads]
    for rank, trial in enumerate(standings.trials, start=1):
        row = [str(rank), trial.name, trial.status, _cell(trial.score), _cell(trial.spread)]
        row += [str(split_score) for split_score in trial.scores]
        row += [""] * (splits - len(trial.scores))
        row.append(_cell(median(trial.epochs) if trial.epochs else None))
        row += [_cell(trial.seconds), _cell(trial.weights)]
        for name in names:
            values = trial.active_values
            row.append(plain(values[name]) if name in values else "")
        rows.append(row)
    return rows


def _cell(value: float | None) -> str:
    return "" if value is None else str(value)


def leaderboard_text(
    standings: Standings, rows: int = 5, width: int | None = None, *, jobs: int = 1
) -> str:
    """Return the best `rows` trials with a score, and how far the sweep is.

    No line has more than `width` letters, None for no limit: hyperparameters that do not fit stand on lines of their
    own. The time left is that of the trials to come at the mean time of those that ended, `jobs` at once.
    """
    table = [("rank", "trial", standings.plan.monitor, "hyperparameters")]
    for rank, trial in enumerate(standings.scored[:rows], start=1):
        values = settings(trial, standings)
        table.append((str(rank), trial.name, score(trial, standings), values))
    lines = []
    if len(table) > 1:
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for rank_text, name, figure, values in table:
            head = f"{rank_text:>{widths[0]}}  {name:<{widths[1]}}  {figure:>{widths[2]}}  "
            room = None if width is None else width - len(head)
            first, *others = _wrap(values, room)
            lines.append(head + first)
            for other in others:
                lines.append(" " * len(head) + other)
    lines.append(describe_progress(standings, jobs))
    return "\n".join(_cut(line, width) for line in lines)


def _wrap(values: str, width: int | None) -> list[str]:
    """Return lines that end after a comma, of at most `width` letters where a hyperparameter is no longer than that."""
    lines = [""]
    for part in values.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if width is None or len(longer) < width or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines


def describe_progress(standings: Standings, jobs: int) -> str:
    """Return `12 of 20 trials done, 2 dropped, 1 failed, about 3:10 left`."""
    ended = standings.having(*ENDED)
    parts = [f"{len(ended)} of {standings.plan.trials} trials done"]
    for status in _COUNTED:
        count = len(standings.having(status))
        if count:
            parts.append(f"{count} {status}")
    times = [trial.seconds for trial in ended if trial.seconds > 0]
    left = standings.plan.trials - len(ended)
    if times and left > 0:
        mean = sum(times) / len(times)
        parts.append(f"about {_clock(left * mean / jobs)} left")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    """Return `3:10` or `1:03:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cut(line: str, width: int | None) -> str:
    text = printable(line)
    if width is None or len(text) <= width:
        return text
    return text[: width - 1] + "…"
