"""How much each hyperparameter mattered: a random forest that predicts scores, and what shuffling a column costs it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.evaluation.figures import BLUE, SOFT, printable, svg
from epochal.app.evaluation.sections.section import Section
from epochal.app.store.plan import Range
from epochal.app.store.trials import Trial
from epochal.app.tuning.report.standings import Standings
from epochal.app.units import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST = 8  # trials with a score
TREES = 100
SHUFFLES = 5  # of a column, for each tree
TITLE = "Which hyperparameter mattered"


@dataclass(frozen=True, kw_only=True)
class Importance:
    """What the forest says."""

    shares: dict[str, float]
    """By hyperparameter, the most important first: the share of the scores' variance that it accounts for, alone or
    together with others. About 0 where it does not matter; chance may make it a little negative."""
    r2: float
    """Coefficient of determination on trials that a tree has not seen; 1 is perfect, 0 no better than the mean."""


def importance(standings: Standings) -> Importance | None:
    """Importances by trials that ended with a score; None where they are fewer than `LEAST` or all scored the same.

    Each tree is asked about the trials that its own bootstrap sample left out, so that what it learned by heart does
    not count (Breiman 2001, "Random Forests", section 10). Shuffling a hyperparameter raises the squared error by twice
    the variance that it accounts for (Gregorutti, Michel and Saint-Pierre 2017, "Correlation and variable importance in
    random forests", section 2).
    """
    trials = standings.scored
    scores = np.array([trial.score for trial in trials], np.float64)
    if len(trials) < LEAST or not standings.space or np.ptp(scores) == 0:
        return None
    encoded = encode(standings.space, trials)
    forest = _fitted(encoded, scores)
    increases = _increases(forest, encoded, scores) / (2 * scores.var())
    order = np.argsort(-increases, kind="stable")
    shares = {standings.space[place].name: float(increases[place]) for place in order}
    return Importance(shares=shares, r2=float(forest.oob_score_))


def encode(space: Sequence[Range], trials: Sequence[Trial]) -> np.ndarray:
    """float64 [trials, hyperparameters]: places of choices, logarithms of log ranges, inactive ones below all."""
    return np.array(
        [[_code(parameter, trial) for parameter in space] for trial in trials], np.float64
    )


def _code(parameter: Range, trial: Trial) -> float:
    value = trial.active_values.get(parameter.name)
    if parameter.kind == "choice":
        place = parameter.index_of(value)
        return -1.0 if place is None else float(place)
    low = parameter.low or 0.0
    high = parameter.high or 0.0
    if not isinstance(value, int | float) or (parameter.kind == "log" and value <= 0):
        value = None
    if parameter.kind == "log" and low > 0:
        value = None if value is None else math.log(value)
        low = math.log(low)
        high = math.log(high)
    return 2 * low - high - 1 if value is None else float(value)


def _fitted(encoded: np.ndarray, scores: np.ndarray) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(encoded, scores)


def _increases(forest: Any, encoded: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Of each column: the mean rise of the squared error on left-out trials when it is shuffled among them."""
    generator = np.random.default_rng(0)
    everyone = np.arange(len(scores))
    rises = []
    for tree, drawn in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        out = np.setdiff1d(everyone, drawn)
        if len(out) > 1:
            rises.append(_rises(tree, encoded[out], scores[out], generator))
    return np.mean(rises, axis=0)


def _rises(
    tree: Any, encoded: np.ndarray, scores: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    count, columns = encoded.shape
    shuffled = np.tile(encoded, (columns, SHUFFLES, 1, 1))
    for column in range(columns):
        for again in range(SHUFFLES):
            shuffled[column, again, :, column] = generator.permutation(encoded[:, column])
    errors = (tree.predict(shuffled.reshape(-1, columns)).reshape(columns, -1, count) - scores) ** 2
    return errors.mean(axis=(1, 2)) - np.mean((tree.predict(encoded) - scores) ** 2)


def importance_section(standings: Standings) -> Section | None:
    """Bars, and in words how far to trust them."""
    if not standings.space:
        return None
    found = importance(standings)
    if found is None:
        return Section(title=TITLE, text=_too_little(standings))
    names = ", ".join(f"{name} {share:z.2f}" for name, share in found.shares.items())
    height = 1.1 + 0.3 * len(found.shares)
    figure = svg(
        (9.6, height), partial(_draw, found=found), f"Importance of each hyperparameter: {names}"
    )
    return Section(title=TITLE, text=_text(standings, found), figures=(figure,))


def _too_little(standings: Standings) -> str:
    if len(standings.scored) >= LEAST:
        return "All trials scored the same, so that no hyperparameter can be said to have mattered."
    return (
        f"Too few trials to tell: {number_of(len(standings.scored), 'trial')} ended with a score, "
        f"and at least {LEAST} are needed."
    )


def _text(standings: Standings, found: Importance) -> str:
    return (
        f"A random forest learned to predict the score from the hyperparameters of {len(standings.scored)} trials. A bar "
        "is the share of the scores' variance that a hyperparameter accounts for, alone or together with others: how "
        "much worse the forest predicts trials that it has not seen once this one is shuffled. "
        f"{_trust(found.r2)} All this holds for the ranges that were searched; failed trials are left out."
    )


def _trust(r2: float) -> str:
    said = f"The forest explains {100 * max(0.0, r2):.0f} % of how the scores of unseen trials vary (R² {r2:.2f})"
    if r2 >= 0.6:
        return f"{said}: the order of the bars can be trusted where they differ clearly."
    if r2 >= 0.2:
        return f"{said}: take the longest bars as a hint, the rest as noise."
    return f"{said}: that is hardly better than guessing the mean, so read nothing into the bars."


def _draw(axes: Axes, found: Importance) -> None:
    shares = list(found.shares.values())
    places = range(len(shares))
    axes.barh(places, shares, height=0.65, color=BLUE)
    longest = max(map(abs, shares)) or 1.0
    for place, share in zip(places, shares, strict=True):
        axes.text(
            max(share, 0.0) + 0.01 * longest,
            place,
            f"{share:z.2f}",
            va="center",
            fontsize=8.5,
            color=SOFT,
        )
    axes.set_yticks(places, list(map(printable, found.shares)))
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(min(0.0, *shares), 1.1 * longest)
    axes.tick_params(length=0)
    axes.set_xlabel("share of the scores' variance")
