"""The leaderboard: the trials by rank, as a file for programs and as a few lines for the
terminal.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from statistics import fmean, median

from epochal.app.characters import printable
from epochal.app.store import files
from epochal.app.store.plan import Space
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import DROPPED, ENDED, FAILED, LOST, Trial
from epochal.app.tuning.report.formatting import plain, score, settings
from epochal.app.tuning.report.standings import Standings, read_standings

_COUNTED = (DROPPED, FAILED, LOST)  # statuses that the line of progress names

_logger = logging.getLogger("epochal.sweep")


class LeaderboardDisplay:
    """Shows the leaderboard again and again: on a terminal each time in the place of the last one.

    Args:
        sweep: whose trials are shown.
        jobs: trials that run at once.
        width: called for the letters that the terminal's lines have; None where there is no
            terminal.
    """

    def __init__(self, sweep: Sweep, *, jobs: int, width: Callable[[], int | None]) -> None:
        self._sweep = sweep
        self._jobs = jobs
        self._width = width
        self._lines_before = 0

    def show(self, _: str) -> None:
        """Show the standings of this moment, after a trial ended."""
        width = self._width()
        text = leaderboard_text(
            read_standings(self._sweep),
            width=width,
            jobs=self._jobs,
        )
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
    """Return rows by rank, the heads first: what is inactive or unknown is empty, numbers have all
    their digits.
    """
    splits = 0
    for trial in standings.trials:
        splits = max(splits, len(trial.scores))
    names = [searched.name for searched in standings.space]
    heads = ["rank", "trial", "status", "score", "spread"]
    for split in range(1, splits + 1):
        heads.append(f"score_{split}")
    heads += ["best_epoch", "seconds", "weights", *names]
    rows = [heads]
    for rank, trial in enumerate(standings.trials, start=1):
        rows.append([str(rank), *_trial_row(trial, splits, standings.space)])
    return rows


def _trial_row(trial: Trial, splits: int, space: Space) -> list[str]:
    row = [trial.name, trial.status, _cell(trial.score), _cell(trial.spread)]
    missing = splits - len(trial.scores)
    row += map(str, trial.scores)
    row += [""] * missing
    epoch = None
    if trial.epochs:
        epoch = median(trial.epochs)
    row += [_cell(epoch), _cell(trial.seconds), _cell(trial.weights)]
    values = trial.active_values(space)
    for searched in space:
        cell = ""
        if searched.name in values:
            cell = plain(values[searched.name])
        row.append(cell)
    return row


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value)


def leaderboard_text(
    standings: Standings, rows: int = 5, width: int | None = None, *, jobs: int = 1
) -> str:
    """Return the best `rows` trials with a score, and how far the sweep is.

    No line has more than `width` letters, None for no limit: hyperparameters that do not fit stand
    on lines of their own. The time left is that of the trials to come at the mean time of those
    that ended, `jobs` at once.
    """
    best = standings.scored[:rows]
    lines = []
    if best:
        lines += _best_lines(standings, best, width)
    lines.append(describe_progress(standings, jobs))
    return "\n".join(_cut(line, width) for line in lines)


def _best_lines(standings: Standings, best: Sequence[Trial], width: int | None) -> list[str]:
    ranks = ["rank"]
    names = ["trial"]
    figures = [standings.plan.monitor]
    values = ["hyperparameters"]
    for rank, trial in enumerate(best, start=1):
        ranks.append(str(rank))
        names.append(trial.name)
        figures.append(score(trial, standings))
        values.append(settings(trial, standings))
    rank_width = max(map(len, ranks))
    name_width = max(map(len, names))
    figure_width = max(map(len, figures))
    lines = []
    for row, text in enumerate(values):
        rank_cell = ranks[row].rjust(rank_width)
        name_cell = names[row].ljust(name_width)
        figure_cell = figures[row].rjust(figure_width)
        head = f"{rank_cell}  {name_cell}  {figure_cell}  "
        room = None
        if width is not None:
            room = width - len(head)
        for part in _wrap(text, room):
            lines.append(head + part)
            head = " " * len(head)
    return lines


def _wrap(values: str, width: int | None) -> list[str]:
    """Return lines that end after a comma, of at most `width` letters where a hyperparameter is no
    longer than that.
    """
    if width is None:
        return [values]
    first, *others = values.split(", ")
    lines = [first]
    for part in others:
        longer = f"{lines[-1]}, {part}"
        if len(longer) < width:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines


def describe_progress(standings: Standings, jobs: int) -> str:
    """Return `12 of 20 trials done, 2 dropped, 1 failed, about 3:10 left`."""
    ended = standings.having(*ENDED)
    planned = standings.plan.trials
    parts = [f"{len(ended)} of {planned} trials done"]
    for status in _COUNTED:
        count = len(standings.having(status))
        if count:
            parts.append(f"{count} {status}")
    times = [trial.seconds for trial in ended if trial.seconds > 0]
    left = planned - len(ended)
    if times and left > 0:
        seconds = left * fmean(times) / jobs
        parts.append(f"about {_clock(seconds)} left")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    """Return `3:10` or `1:03:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def _cut(line: str, width: int | None) -> str:
    text = printable(line)
    if width is None or len(text) <= width:
        return text
    return text[: width - 1] + "…"
