"""One HTML file that shows how a sweep went, in the look of a run's report: the verdict first, then why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from epochal.app.evaluation.page import duration, name_value_lines, percent, render
from epochal.app.evaluation.sections.section import Section
from epochal.app.store import files as storage
from epochal.app.tuning.report.choices import choices_section
from epochal.app.tuning.report.cost import cost_section
from epochal.app.tuning.report.finalists import curves_section, splits_section
from epochal.app.tuning.report.formatting import metric, score, short, short_names
from epochal.app.tuning.report.importance import importance_section
from epochal.app.tuning.report.rates import rates_section
from epochal.app.tuning.report.scores import parallel_section, scores_section
from epochal.app.tuning.report.sweep_data import Sweep, Trial, read_result
from epochal.app.tuning.report.verdict import sentences


def write_sweep_report(sweep: Sweep, winner: Trial | None, result: Mapping[str, Any]) -> None:
    """Writes `report.html` into the sweep's folder; `result` is what result.json will hold."""
    storage.write_bytes(sweep.folder / "report.html", sweep_html(sweep, winner, result).encode())


def sweep_html(sweep: Sweep, winner: Trial | None, result: Mapping[str, Any]) -> str:
    """The report as text; everything that came from outside is escaped."""
    trained = read_result(sweep.folder / "winner")
    facts = [
        trained.get("dataset"),
        trained.get("model"),
        f"{sweep.algorithm} search",
        sweep.splits,
    ]
    found = [
        choices_section(sweep),
        rates_section(sweep),
        scores_section(sweep, winner),
        parallel_section(sweep),
        importance_section(sweep),
        curves_section(sweep, winner),
        splits_section(sweep, winner),
        cost_section(sweep),
        failures_section(sweep),
        table_section(sweep, winner),
    ]
    return render(
        "tuning/report/report.html",
        title=f"Sweep {sweep.folder.name}",
        facts=[fact for fact in facts if fact is not None],
        verdict=sentences(sweep, winner, result),
        tiles=_tiles(sweep, result),
        sections=[section for section in found if section is not None],
        details=[
            ("Result", name_value_lines(result)),
            ("Configuration that the space changes", _configuration(sweep.folder)),
        ],
    )


def _tiles(sweep: Sweep, result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The headline figures; what `result` lacks has no tile."""
    shown = []
    winner = sweep.find(result["winner"])
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
        figure = score(winner, sweep).partition(" ± ")
        around = f"± {figure[2]}, {len(winner.scores)} splits" if figure[2] else "one split"
        unit = " %" if figure[2].endswith("%") else ""
        shown.append((metric(sweep).capitalize(), figure[0] + unit, around))
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
    return shown


def failures_section(sweep: Sweep) -> Section | None:
    """What went wrong, trial by trial; None where nothing did."""
    failed = sorted(sweep.having("failed", "lost"), key=lambda trial: trial.trial)
    if not failed:
        return None
    rows = [(trial.trial, trial.status, trial.message or "–") for trial in failed]
    text = "Trials that brought no score, each with the first line of what went wrong."
    return Section(title="What failed", text=text, table=(("trial", "status", "message"), *rows))


def table_section(sweep: Sweep, winner: Trial | None) -> Section | None:
    """Every trial by rank; None where there is none."""
    if not sweep.trials:
        return None
    names = short_names(parameter.name for parameter in sweep.space)
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
        _row(rank, trial, sweep, winner, list(names))
        for rank, trial in enumerate(sweep.trials, start=1)
    ]
    text = (
        "By rank: completed trials by score, then dropped ones, then the rest. The best epoch is the median over the "
        "splits. leaderboard.csv holds the same with all digits."
    )
    return Section(title="All trials", text=text, table=(heads, *rows))


def _row(
    rank: int, trial: Trial, sweep: Sweep, winner: Trial | None, names: list[str]
) -> tuple[str, ...]:
    scale, digits = (100, 2) if sweep.sign > 0 else (1, 4)
    won = winner is not None and trial.trial == winner.trial
    return (
        str(rank),
        trial.trial,
        "winner" if won else trial.status,
        score(trial, sweep),
        " ".join(f"{scale * figure:.{digits}f}" for figure in trial.scores),
        f"{median(trial.epochs):g}" if trial.epochs else "",
        duration(trial.seconds) if trial.seconds else "",
        "" if trial.weights is None else f"{trial.weights:,}",
        *(short(trial.values[name]) if name in trial.values else "" for name in names),
    )


def _configuration(folder: Path) -> str:
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
