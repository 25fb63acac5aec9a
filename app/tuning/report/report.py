"""The report of a sweep: one HTML file in the look of a run's report, the verdict first, then the
reasons.
"""

from __future__ import annotations

from statistics import median

from epochal.app.evaluation.page import duration, name_value_lines, percent, render
from epochal.app.evaluation.sections.section import Section
from epochal.app.store import files
from epochal.app.store.sweep import SweepResult
from epochal.app.store.trials import FAILED, LOST, Trial
from epochal.app.tuning.report.choices import choices_section
from epochal.app.tuning.report.cost import cost_section
from epochal.app.tuning.report.finalists import curves_section, splits_section
from epochal.app.tuning.report.formatting import metric, score, short, short_names
from epochal.app.tuning.report.importance import importance_section
from epochal.app.tuning.report.parallel import parallel_section
from epochal.app.tuning.report.rates import rates_section
from epochal.app.tuning.report.scores import scores_section
from epochal.app.tuning.report.standings import Standings, read_result
from epochal.app.tuning.report.verdict import describe_result


def write_sweep_report(standings: Standings, winner: Trial | None, result: SweepResult) -> None:
    """Write the page into the sweep's folder."""
    html = sweep_html(standings, winner, result)
    files.write_bytes(standings.sweep.report, html.encode())


def sweep_html(standings: Standings, winner: Trial | None, result: SweepResult) -> str:
    """Return the page as text; everything that came from outside is escaped."""
    facts = [f"{standings.plan.algorithm} search", standings.plan.splits]
    retrained = read_result(standings.sweep.winner)
    if retrained is not None:
        facts = [retrained.dataset, retrained.model, *facts]
    sections = [
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
    return render(
        "tuning/report/report.html",
        title=f"Sweep {standings.sweep.name}",
        facts=facts,
        verdict=describe_result(standings, winner, result),
        tiles=_headline_figures(standings, result),
        sections=[section for section in sections if section is not None],
        details=[
            ("Result", name_value_lines(result.__dict__)),
            ("Configuration that the space changes", standings.sweep.base_text),
        ],
    )


def _headline_figures(standings: Standings, result: SweepResult) -> list[tuple[str, str, str]]:
    """Return name, value and unit of the headline figures that the result has."""
    figures = []
    if result.test_accuracy is not None:
        basis = "of the retrained winner"
        if result.test_accuracy_low is not None and result.test_accuracy_high is not None:
            low = percent(result.test_accuracy_low)
            high = percent(result.test_accuracy_high)
            basis = f"95 % interval {low} to {high}"
        figures.append(("Test accuracy", percent(result.test_accuracy, 2), basis))
    winner = standings.find(result.winner)
    if winner is not None:
        figures.append(_score_figure(standings, winner))
    if result.optimism is not None:
        points = f"{100 * result.optimism:+.2f}"
        figures.append(("Optimism", points, "points, validation minus test"))
    others = []
    counts = {"dropped": result.dropped, "failed": result.failed, "lost": result.lost}
    for status, count in counts.items():
        if count:
            others.append(f"{count} {status}")
    if not others:
        others.append("none dropped, none failed")
    figures.append(("Trials completed", f"{result.completed:,}", ", ".join(others)))
    return figures


def _score_figure(standings: Standings, winner: Trial) -> tuple[str, str, str]:
    value, _, spread = score(winner, standings).partition(" ± ")
    basis = "one split"
    if spread:
        basis = f"± {spread}, {len(winner.scores)} splits"
    if spread.endswith("%"):
        value += " %"
    return metric(standings).capitalize(), value, basis


def failures_section(standings: Standings) -> Section | None:
    """Return what went wrong, trial by trial; None where nothing did."""
    failed = standings.having(FAILED, LOST)
    if not failed:
        return None
    rows = [("trial", "status", "message")]
    for trial in sorted(failed, key=lambda trial: trial.name):
        rows.append((trial.name, trial.status, trial.message or "–"))
    text = "Trials that brought no score, each with the first line of what went wrong."
    return Section(
        title="What failed",
        text=text,
        table=tuple(rows),
    )


def table_section(standings: Standings, winner: Trial | None) -> Section | None:
    """Return every trial by rank; None where there is none."""
    if not standings.trials:
        return None
    names = short_names(searched.name for searched in standings.space)
    heads = ["rank", "trial", "status", "score", "splits", "best epoch", "time", "weights"]
    rows = [(*heads, *names.values())]
    for rank, trial in enumerate(standings.trials, start=1):
        status = trial.status
        if winner is not None and trial.name == winner.name:
            status = "winner"
        figures = _figure_cells(trial, standings)
        values = _value_cells(trial, standings)
        rows.append((str(rank), trial.name, status, *figures, *values))
    text = (
        "By rank: completed trials by score, then dropped ones, then the rest. The best epoch is "
        "the median over the splits. leaderboard.csv holds the same with all digits."
    )
    return Section(
        title="All trials",
        text=text,
        table=tuple(rows),
    )


def _value_cells(trial: Trial, standings: Standings) -> list[str]:
    cells = []
    values = trial.active_values(standings.space)
    for searched in standings.space:
        cell = ""
        if searched.name in values:
            cell = short(values[searched.name])
        cells.append(cell)
    return cells


def _figure_cells(trial: Trial, standings: Standings) -> list[str]:
    splits = []
    for figure in trial.scores:
        if standings.sign > 0:
            splits.append(f"{100 * figure:.2f}")
        else:
            splits.append(f"{figure:.4f}")
    epoch = ""
    if trial.epochs:
        epoch = f"{median(trial.epochs):g}"
    seconds = ""
    if trial.seconds:
        seconds = duration(trial.seconds)
    weights = ""
    if trial.weights is not None:
        weights = f"{trial.weights:,}"
    return [score(trial, standings), " ".join(splits), epoch, seconds, weights]
