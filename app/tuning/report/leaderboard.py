"""The trials by rank: a file for programs, a few lines for the terminal."""

from __future__ import annotations

import csv
import io
from statistics import median

from epochal.app.evaluation.figures import printable
from epochal.app.store import files as storage
from epochal.app.tuning.report.formatting import plain, score, settings
from epochal.app.tuning.report.sweep_data import ENDED, Sweep, Trial

_SAID = ("dropped", "failed", "lost")


def write_leaderboard(sweep: Sweep) -> None:
    """Writes `leaderboard.csv` into the sweep's folder."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(leaderboard(sweep))
    storage.write_bytes(sweep.folder / "leaderboard.csv", text.getvalue().encode())


def leaderboard(sweep: Sweep) -> list[list[str]]:
    """Rows by rank, the heads first: what is inactive or unknown is empty, numbers have all their digits."""
    splits = max((len(trial.scores) for trial in sweep.trials), default=0)
    names = [parameter.name for parameter in sweep.space]
    heads = [
        "rank",
        "trial",
        "status",
        "score",
        "spread",
        *(f"score_{split + 1}" for split in range(splits)),
    ]
    return [
        [*heads, "best_epoch", "seconds", "weights", *names],
        *(_row(rank, trial, splits, names) for rank, trial in enumerate(sweep.trials, start=1)),
    ]


def _row(rank: int, trial: Trial, splits: int, names: list[str]) -> list[str]:
    scores = [*map(str, trial.scores), *[""] * (splits - len(trial.scores))]
    best_epoch = median(trial.epochs) if trial.epochs else None
    figures = [best_epoch, trial.seconds, trial.weights]
    values = [plain(trial.values[name]) if name in trial.values else "" for name in names]
    head = [str(rank), trial.trial, trial.status, _cell(trial.score), _cell(trial.spread)]
    return [*head, *scores, *map(_cell, figures), *values]


def _cell(value: float | None) -> str:
    return "" if value is None else str(value)


def leaderboard_text(
    sweep: Sweep, rows: int = 5, width: int | None = None, *, jobs: int = 1
) -> str:
    """The best `rows` trials with a score and how far the sweep is.

    No line has more than `width` letters, None for no limit: hyperparameters that do not fit stand on lines of their
    own. The time left is that of the trials to come at the mean time of those that ended, `jobs` at once.
    """
    best = enumerate(sweep.scored[:rows], start=1)
    cells = [
        (str(rank), trial.trial, score(trial, sweep), settings(trial, sweep))
        for rank, trial in best
    ]
    cells = [("rank", "trial", sweep.monitor, "hyperparameters"), *cells] if cells else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for rank, name, figure, values in cells:
        head = f"{rank:>{widths[0]}}  {name:<{widths[1]}}  {figure:>{widths[2]}}  "
        first, *more = _wrapped(values, None if width is None else width - len(head))
        lines += [head + first, *(" " * len(head) + line for line in more)]
    return "\n".join(_cut(line, width) for line in [*lines, progress(sweep, jobs)])


def _wrapped(values: str, width: int | None) -> list[str]:
    """Lines that end after a comma, of at most `width` letters where a hyperparameter is no longer than that."""
    lines = [""]
    for part in values.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if width is None or len(longer) < width or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(part)
    return lines


def progress(sweep: Sweep, jobs: int) -> str:
    """`12 of 20 trials done, 2 dropped, 1 failed, about 3:10 left`."""
    ended = sweep.having(*ENDED)
    parts = [f"{len(ended)} of {sweep.planned} trials done"]
    parts += [f"{len(found)} {status}" for status in _SAID if (found := sweep.having(status))]
    timed = [trial.seconds for trial in ended if trial.seconds > 0]
    left = sweep.planned - len(ended)
    if timed and left > 0:
        parts.append(f"about {_clock(left * sum(timed) / len(timed) / jobs)} left")
    return ", ".join(parts)


def _clock(seconds: float) -> str:
    """`3:10` or `1:03:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _cut(line: str, width: int | None) -> str:
    text = printable(line)
    return text if width is None or len(text) <= width else text[: width - 1] + "…"
