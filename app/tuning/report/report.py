"""One HTML file that shows how a sweep went, in the look of a run's report: the verdict first, then why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from epochal.app.evaluation.page import (
    duration,
    escaped,
    folded,
    page,
    pairs,
    percent,
    section_html,
    tiles,
)
from epochal.app.evaluation.sections.section import Section
from epochal.app.store import files as storage
from epochal.app.tuning.report.choices import choices_section
from epochal.app.tuning.report.cost import cost_section
from epochal.app.tuning.report.finalists import curves_section, splits_section
from epochal.app.tuning.report.formatting import metric, score, short, short_names
from epochal.app.tuning.report.importance import importance_section
from epochal.app.tuning.report.rates import rates_section
from epochal.app.tuning.report.scores import parallel_section, scores_section
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings, read_result
from epochal.app.tuning.report.verdict import sentences


def write_sweep_report(standings: Standings, winner: Trial | None, result: Mapping[str, Any]) -> None:
    """Writes `report.html` into the sweep's folder; `result` is what result.json will hold."""
    storage.write_bytes(standings.sweep.folder / "report.html", sweep_html(standings, winner, result).encode())


def sweep_html(standings: Standings, winner: Trial | None, result: Mapping[str, Any]) -> str:
    """The report as text; everything that came from outside is escaped."""
    trained = read_result(standings.sweep.folder / "winner")
    facts = [
        trained.get("dataset"),
        trained.get("model"),
        f"{standings.plan.algorithm} search",
        standings.plan.splits,
    ]
    verdict = "".join(
        f'<p class="verdict">{escaped(sentence)}</p>'
        for sentence in sentences(standings, winner, result)
    )
    found = [
        choices_section(standings),
        rates_section(standings),
        scores_section(standings, winner),
        parallel_section(standings),
        importance_section(standings),
        curves_section(standings, winner),
        splits_section(standings, winner),
        cost_section(standings),
        failures_section(standings),
        table_section(standings, winner),
    ]
    sections = "".join(section_html(section) for section in found if section is not None)
    details = folded(
        [
            ("Result", pairs(result)),
            ("Configuration that the space changes", _configuration(standings.sweep.folder)),
        ]
    )
    body = f"{verdict}{_tiles(standings, result)}{sections}<section><h2>How this was made</h2>{details}</section>"
    return page(f"Sweep {standings.sweep.folder.name}", facts, body)


def _tiles(standings: Standings, result: Mapping[str, Any]) -> str:
    """The headline figures; what `result` lacks has no tile."""
    shown = []
    winner = standings.find(result["winner"])
    if result["test_accuracy"] is not None:
        low = result["test_accuracy_low"]
        high = result["test_accuracy_high"]
        interval = (
            "of the retrained winner"
            if None in (low, high)
            else f"95 % interval {percent(low)} to {percent(high)}"
        )
        shown.append(("Test accuracy", percent(result["test_accuracy"], 2), interval))
    if winner is not None:
        figure = score(winner, standings).partition(" ± ")
        around = f"± {figure[2]}, {len(winner.scores)} splits" if figure[2] else "one split"
        unit = " %" if figure[2].endswith("%") else ""
        shown.append((metric(standings).capitalize(), figure[0] + unit, around))
    if result["optimism"] is not None:
        shown.append(
            ("Optimism", f"{100 * result['optimism']:+.2f}", "points, validation minus test")
        )
    rest = ", ".join(
        f"{result[name]} {name}" for name in ("dropped", "failed", "lost") if result[name]
    )
    shown.append(
        ("Trials completed", f"{result['completed']:,}", rest or "none dropped, none failed")
    )
    return tiles(shown)


def failures_section(standings: Standings) -> Section | None:
    """What went wrong, trial by trial; None where nothing did."""
    failed = sorted(standings.having("failed", "lost"), key=lambda trial: trial.name)
    if not failed:
        return None
    rows = [(trial.name, trial.status, trial.message or "–") for trial in failed]
    text = "Trials that brought no score, each with the first line of what went wrong."
    return Section(title="What failed", text=text, table=(("trial", "status", "message"), *rows))


def table_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Every trial by rank; None where there is none."""
    if not standings.trials:
        return None
    names = short_names(parameter.name for parameter in standings.space)
    heads = (
        "rank",
        "trial",
        "status",
        "score",
        "splits",
        "best epoch",
        "time",
        "weights",
        *names.values(),
    )
    rows = [
        _row(rank, trial, standings, winner, list(names))
        for rank, trial in enumerate(standings.trials, start=1)
    ]
    text = (
        "By rank: completed trials by score, then dropped ones, then the rest. The best epoch is the median over the "
        "splits. leaderboard.csv holds the same with all digits."
    )
    return Section(title="All trials", text=text, table=(heads, *rows))


def _row(
    rank: int, trial: Trial, standings: Standings, winner: Trial | None, names: list[str]
) -> tuple[str, ...]:
    scale, digits = (100, 2) if standings.sign > 0 else (1, 4)
    won = winner is not None and trial.name == winner.name
    return (
        str(rank),
        trial.name,
        "winner" if won else trial.status,
        score(trial, standings),
        " ".join(f"{scale * figure:.{digits}f}" for figure in trial.scores),
        f"{median(trial.epochs):g}" if trial.epochs else "",
        duration(trial.seconds) if trial.seconds else "",
        "" if trial.weights is None else f"{trial.weights:,}",
        *(short(trial.active_values[name]) if name in trial.active_values else "" for name in names),
    )


def _configuration(folder: Path) -> str:
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
