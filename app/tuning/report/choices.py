"""Choices compared best against best: of each the best trial, and how far it lies behind that of the best choice."""

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
    """Return the trials that ended by the index of their choice, by rank; choices without any are left out."""
    trials: dict[int, list[Trial]] = {}
    for trial in standings.having(*ENDED):
        index = searched.index_of(trial.active_values.get(searched.name))
        if index is not None:
            trials.setdefault(index, []).append(trial)
    return dict(sorted(trials.items()))


def choices_section(standings: Standings) -> Section | None:
    """Return a row for every choice of every hyperparameter of which two were tried; None where there is none.

    None, too, where nothing else is searched: each choice then is one trial, and the table of trials says it all.
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
    text = (
        "Each choice by its best trial, whatever the other hyperparameters are there. "
        f"{_describe_budget(compared)} {_describe_chance(standings)}"
    )
    return Section(
        title="Best of each choice",
        text=text,
        table=tuple(rows),
    )


def _rows(standings: Standings, searched: Range, trials: TrialsByChoice) -> list[tuple[str, ...]]:
    ranks = {trial.name: rank for rank, trial in enumerate(standings.scored)}
    bests: dict[int, Trial] = {}
    for index, members in trials.items():
        ranked = [trial for trial in members if trial.name in ranks]
        if ranked:
            bests[index] = ranked[0]
    best = min(bests.values(), key=lambda trial: ranks[trial.name], default=None)
    name = short_names(other.name for other in standings.space)[searched.name]
    rows: list[tuple[str, ...]] = []
    for index, members in trials.items():
        head = (plain(searched.values[index]), name, str(len(members)))
        trial = bests.get(index)
        if trial is None or best is None:
            rows.append((*head, "–", "–", "–", "0", "none ended with a score"))
            continue
        difference = "the best"
        if trial is not best:
            difference = _describe_difference(trial, best, standings)
        others = settings(trial, standings, without=searched.name) or "none"
        splits = str(len(trial.scores))
        rows.append((*head, trial.name, score(trial, standings), difference, splits, others))
    return rows


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
        counts = [len(members) for members in trials.values()]
        low = min(counts)
        high = max(counts)
        if low == high:
            parts.append(f"{low} on each {searched.name}")
        else:
            parts.append(f"{low} to {high} on each {searched.name}")
            is_equal = False
    spent = f"Trials spent: {', '.join(parts)}"
    if is_equal:
        return f"{spent}, an equal budget."
    return f"{spent}; where budgets differ, the best of more trials is better by that alone."


def _describe_chance(standings: Standings) -> str:
    if max(len(trial.scores) for trial in standings.scored) == 1:
        return (
            "With a single split the difference cannot be told from chance: more splits (--splits repeated:2x5) or "
            "the best of each again with other seeds would tell."
        )
    return (
        "The difference is paired over the splits that both have; its ± is a standard error, and one below two of them "
        "is no difference."
    )
