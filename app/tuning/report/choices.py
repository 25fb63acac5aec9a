"""Best against best: of each choice the best trial, and how far it lies behind that of the best choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from epochal.app.evaluation.sections.section import Section
from epochal.app.tuning.report.finalists import paired
from epochal.app.tuning.report.formatting import plain, score, settings, short_names, with_spread
from epochal.app.store.plan import Range
from epochal.app.store.trials import ENDED, Trial
from epochal.app.tuning.report.standings import Standings


def tried(standings: Standings, parameter: Range) -> dict[int, list[Trial]]:
    """The trials that ended by the place of their choice, by rank; choices that were not tried are left out."""
    found: dict[int, list[Trial]] = {}
    for trial in standings.having(*ENDED):
        place = parameter.index_of(trial.active_values.get(parameter.name))
        if place is not None:
            found.setdefault(place, []).append(trial)
    return dict(sorted(found.items()))


def choices_section(standings: Standings) -> Section | None:
    """A row for every choice of every `choice` hyperparameter of which two were tried; None where there is none.

    None, too, where nothing else is searched: each choice then is one trial, and the table of trials says it all.
    """
    if len(standings.space) < 2:
        return None
    choices = [parameter for parameter in standings.space if parameter.kind == "choice"]
    found = [
        (parameter, trials) for parameter in choices if len(trials := tried(standings, parameter)) > 1
    ]
    if not found or not standings.scored:
        return None
    rows = [row for parameter, trials in found for row in _rows(standings, parameter, trials)]
    heads = (
        "choice",
        "of",
        "trials",
        "best trial",
        "score",
        "minus the best",
        "splits",
        "its other hyperparameters",
    )
    text = (
        "Each choice by its best trial, whatever the other hyperparameters are there. "
        f"{_budget(found)} {_chance(standings)}"
    )
    return Section(title="Best of each choice", text=text, table=(heads, *rows))


def _rows(
    standings: Standings, parameter: Range, trials: Mapping[int, list[Trial]]
) -> list[tuple[str, ...]]:
    ranks = {trial.name: rank for rank, trial in enumerate(standings.scored)}
    bests = {
        place: next((one for one in found if one.trial in ranks), None)
        for place, found in trials.items()
    }
    best = min(filter(None, bests.values()), key=lambda trial: ranks[trial.name], default=None)
    name = short_names(one.name for one in standings.space)[parameter.name]
    rows: list[tuple[str, ...]] = []
    for place, trial in bests.items():
        head = (plain(parameter.values[place]), name, str(len(trials[place])))
        if trial is None or best is None:
            rows.append((*head, "–", "–", "–", "0", "none ended with a score"))
            continue
        difference = "the best" if trial is best else _difference(trial, best, standings)
        others = settings(trial, standings, but=parameter.name) or "none"
        rows.append(
            (*head, trial.name, score(trial, standings), difference, str(len(trial.scores)), others)
        )
    return rows


def _difference(trial: Trial, best: Trial, standings: Standings) -> str:
    found = paired(trial, best)
    return "–" if found is None else with_spread(found.mean, found.error, standings, signed=True)


def _budget(found: Sequence[tuple[Range, Mapping[int, list[Trial]]]]) -> str:
    """How many trials were spent on each choice: the best of more is better by that alone."""
    counts = {parameter.name: sorted(map(len, trials.values())) for parameter, trials in found}
    ranges = {name: (few[0], few[-1]) for name, few in counts.items()}
    spent = [
        f"{low if low == high else f'{low} to {high}'} on each {name}"
        for name, (low, high) in ranges.items()
    ]
    if all(low == high for low, high in ranges.values()):
        return f"Trials spent: {', '.join(spent)}, an equal budget."
    return f"Trials spent: {', '.join(spent)}; where budgets differ, the best of more trials is better by that alone."


def _chance(standings: Standings) -> str:
    if max(len(trial.scores) for trial in standings.scored) == 1:
        return (
            "With a single split the difference cannot be told from chance: more splits (--splits repeated:2x5) or "
            "the best of each again with other seeds would tell."
        )
    return (
        "The difference is paired over the splits that both have; its ± is a standard error, and one below two of them "
        "is no difference."
    )
