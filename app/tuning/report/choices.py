"""Choices compared best against best: of each the best trial, and how far it lies behind that of
the best choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epochal.app.evaluation.sections.section import Section
from epochal.app.store.plan import Range
from epochal.app.store.trials import ENDED, Trial
from epochal.app.tuning.report.finalists import paired_difference
from epochal.app.tuning.report.formatting import plain, score, settings, short_names, with_spread
from epochal.app.tuning.report.standings import Standings

_HEADS = (
    "choice",
    "of",
    "trials",
    "best trial",
    "score",
    "minus the best",
    "splits",
    "its other hyperparameters",
)
TrialsByChoice = Mapping[int, Sequence[Trial]]
"""The trials that ended by the index of their choice, each by rank."""


def trials_by_choice(standings: Standings, searched: Range) -> TrialsByChoice:
    """Return the trials that ended by the index of their choice, by rank; choices without any are
    left out.
    """
    trials: dict[int, list[Trial]] = {}
    for index in range(len(searched.values)):
        trials[index] = []
    for trial in standings.having(*ENDED):
        values = trial.active_values(standings.space)
        if searched.name not in values:
            continue
        choice = searched.index_of(values[searched.name])
        if choice is not None:
            trials[choice].append(trial)
    return {index: members for index, members in trials.items() if members}


def choices_section(standings: Standings) -> Section | None:
    """Return a row for every choice of every hyperparameter of which two were tried; None where
    there is none.

    None, too, where nothing else is searched: each choice then is one trial, and the table of
    trials says it all.
    """
    if len(standings.space) < 2 or not standings.scored:
        return None
    compared: list[tuple[Range, TrialsByChoice]] = []
    rows: list[tuple[str, ...]] = [_HEADS]
    for searched in standings.space:
        if searched.kind == "choice":
            trials = trials_by_choice(standings, searched)
            if len(trials) > 1:
                compared.append((searched, trials))
                rows += _rows(standings, searched, trials)
    if not compared:
        return None
    budget = _describe_budget(compared)
    text = (
        "Each choice by its best trial, whatever the other hyperparameters are there. "
        f"{budget} {_describe_chance(standings)}"
    )
    return Section(
        title="Best of each choice",
        text=text,
        table=tuple(rows),
    )


def _rows(standings: Standings, searched: Range, trials: TrialsByChoice) -> list[tuple[str, ...]]:
    bests: dict[int, Trial] = {}
    best = None
    for trial in standings.scored:  # by rank
        for index, members in trials.items():
            if trial in members and index not in bests:
                bests[index] = trial
                best = best or trial
    names = short_names(other.name for other in standings.space)
    rows: list[tuple[str, ...]] = []
    for index, members in trials.items():
        choice = plain(searched.values[index])
        row = [choice, names[searched.name], str(len(members))]
        if best is None or index not in bests:
            row += ["–", "–", "–", "0", "none ended with a score"]
        else:
            row += _compare(
                bests[index],
                best,
                searched,
                standings,
            )
        rows.append(tuple(row))
    return rows


def _compare(trial: Trial, best: Trial, searched: Range, standings: Standings) -> list[str]:
    """Return the cells of a choice's best trial, beside the best trial of all choices."""
    difference = "the best"
    if trial is not best:
        difference = _describe_difference(trial, best, standings)
    figure = score(trial, standings)
    splits = str(len(trial.scores))
    others = settings(trial, standings, without=searched.name)
    return [trial.name, figure, difference, splits, others or "none"]


def _describe_difference(trial: Trial, best: Trial, standings: Standings) -> str:
    difference = paired_difference(trial, best)
    if difference is None:
        return "–"
    return with_spread(
        difference.mean,
        difference.error,
        standings,
        signed=True,
    )


def _describe_budget(compared: Sequence[tuple[Range, TrialsByChoice]]) -> str:
    """Say how many trials were spent on each choice: the best of more is better by that alone."""
    parts = []
    is_equal = True
    for searched, trials in compared:
        counts = sorted(map(len, trials.values()))
        spent = str(counts[0])
        if counts[0] != counts[-1]:
            spent += f" to {counts[-1]}"
            is_equal = False
        parts.append(f"{spent} on each {searched.name}")
    text = f"Trials spent: {', '.join(parts)}"
    if is_equal:
        return f"{text}, an equal budget."
    return f"{text}; where budgets differ, the best of more trials is better by that alone."


def _describe_chance(standings: Standings) -> str:
    for trial in standings.scored:
        if len(trial.scores) > 1:
            return (
                "The difference is paired over the splits that both have; its ± is a standard "
                "error, and one below two of them is no difference."
            )
    return (
        "With a single split the difference cannot be told from chance: more splits (--splits "
        "repeated:2x5) or the best of each again with other seeds would tell."
    )
