"""Importance of hyperparameters: a random forest that predicts scores, and what shuffling a column
costs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from epochal.app.characters import printable
from epochal.app.evaluation.figures import BLUE, SOFT, svg
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
_CLEAR = 0.6  # R² from which the order of the bars is to be trusted
_HINT = 0.2  # from which they are drawn at all


@dataclass(frozen=True, kw_only=True)
class Importance:
    """The importances by a forest, and how far to trust it."""

    shares: dict[str, float]
    """By hyperparameter, the most important first: the share of the scores' variance that it
    accounts for, alone or together with others. About 0 where it does not matter; chance may make
    it a little negative.
    """
    r2: float
    """Coefficient of determination on trials that a tree has not seen; 1 is perfect, 0 no better
    than the mean.
    """


def measure_importance(standings: Standings) -> Importance | None:
    """Return importances by trials that ended with a score; None where they are too few or all
    scored the same.

    Each tree is asked about the trials that its own bootstrap sample left out, so that what it
    learned by heart does not count (Breiman 2001, "Random Forests", section 10). Shuffling a
    hyperparameter raises the squared error by twice the variance that it accounts for (Gregorutti,
    Michel and Saint-Pierre 2017, "Correlation and variable importance in random forests", section
    2).
    """
    trials = standings.scored
    if len(trials) < LEAST or not standings.space:
        return None
    scores = np.array([trial.score for trial in trials], np.float64)
    if np.ptp(scores) == 0:
        return None
    from sklearn.ensemble import RandomForestRegressor

    encoded = encode_trials(standings.space, trials)
    forest = RandomForestRegressor(
        TREES,
        oob_score=True,
        random_state=0,
    ).fit(encoded, scores)
    increases = _error_increases(
        forest,
        encoded,
        scores,
    ) / (2 * scores.var())
    shares = {}
    for column in np.argsort(-increases, kind="stable"):
        shares[standings.space[column].name] = float(increases[column])
    return Importance(shares=shares, r2=float(forest.oob_score_))


_INACTIVE = object()  # null may be a choice


def encode_trials(space: Sequence[Range], trials: Sequence[Trial]) -> np.ndarray:
    """Return float64 [trials, hyperparameters]: indices of choices, logarithms of log ranges,
    inactive ones below all.
    """
    encoded = np.empty((len(trials), len(space)), np.float64)
    for row, trial in enumerate(trials):
        values = trial.active_values(tuple(space))
        for column, searched in enumerate(space):
            value = values.get(searched.name, _INACTIVE)
            encoded[row, column] = _encode_value(searched, value)
    return encoded


def _encode_value(searched: Range, value: Any) -> float:
    if searched.kind == "choice":
        index = searched.index_of(value)
        if index is None:
            return -1.0
        return float(index)
    low = searched.low or 0.0
    high = searched.high or 0.0
    is_logarithmic = searched.kind == "log" and low > 0
    if is_logarithmic:
        low = math.log(low)
        high = math.log(high)
    is_active = isinstance(value, int | float)
    if is_active and searched.kind == "log":
        is_active = value > 0
    if not is_active:
        return 2 * low - high - 1
    if is_logarithmic:
        return math.log(value)
    return float(value)


def _error_increases(forest: Any, encoded: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return for each column the mean rise of the squared error on left-out trials when it is
    shuffled among them.
    """
    generator = np.random.default_rng(0)
    everyone = np.arange(len(scores))
    increases = []
    for tree, drawn in zip(
        forest.estimators_,
        forest.estimators_samples_,
        strict=True,
    ):
        rows = np.setdiff1d(everyone, drawn)
        if len(rows) > 1:
            increase = _tree_error_increases(
                tree,
                encoded[rows],
                scores[rows],
                generator,
            )
            increases.append(increase)
    return np.mean(increases, axis=0)


def _tree_error_increases(
    tree: Any, encoded: np.ndarray, scores: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    count, columns = encoded.shape
    shuffled = np.tile(encoded, (columns, SHUFFLES, 1, 1))
    for column in range(columns):
        for repetition in range(SHUFFLES):
            permuted = generator.permutation(encoded[:, column])
            shuffled[column, repetition, :, column] = permuted
    # One call for all.
    rows = shuffled.reshape(-1, columns)
    predicted = tree.predict(rows)
    predicted = predicted.reshape(columns, -1, count)
    errors = np.square(predicted - scores)
    errors_before = np.square(tree.predict(encoded) - scores)
    return errors.mean(axis=(1, 2)) - errors_before.mean()


def importance_section(standings: Standings) -> Section | None:
    """Return bars, and in words how far to trust them; None where nothing is searched.

    There are no bars where the forest has learned nothing.
    """
    if not standings.space:
        return None
    count = len(standings.scored)
    if count < LEAST:
        trials = number_of(count, "trial")
        text = (
            f"Too few trials to tell: {trials} ended with a score, and at least {LEAST} are needed."
        )
        return Section(title=TITLE, text=text)
    importance = measure_importance(standings)
    if importance is None:
        text = "All trials scored the same, so that no hyperparameter can be said to have mattered."
        return Section(title=TITLE, text=text)
    trust = _describe_trust(importance.r2)
    if importance.r2 < _HINT:
        text = (
            "A random forest learned to predict the score from the hyperparameters of "
            f"{count} trials. {trust}"
        )
        return Section(title=TITLE, text=text)
    shares = importance.shares
    shown = [f"{name} {share:z.2f}" for name, share in shares.items()]
    alternative = f"Importance of each hyperparameter: {', '.join(shown)}"
    size = (9.6, 1.1 + 0.3 * len(shares))
    figure = svg(size, partial(_draw_shares, shares=shares), alternative)
    text = (
        f"A random forest learned to predict the score from the hyperparameters of {count} trials. "
        "A bar is the share of the scores' variance that a hyperparameter accounts for, alone or "
        "together with others: how much worse the forest predicts trials that it has not seen once "
        f"this one is shuffled. {trust} All this holds for the ranges that were searched; failed "
        "trials are left out."
    )
    return Section(
        title=TITLE,
        text=text,
        figures=(figure,),
    )


def _describe_trust(r2: float) -> str:
    percent = 100 * max(0.0, r2)
    text = (
        f"The forest explains {percent:.0f} % of how the scores of unseen trials vary (R² {r2:.2f})"
    )
    if r2 >= _CLEAR:
        return f"{text}: the order of the bars can be trusted where they differ clearly."
    if r2 >= _HINT:
        return f"{text}: take the longest bars as a hint, the rest as noise."
    return f"{text}: hardly better than guessing the mean, so that it cannot tell what mattered."


def _draw_shares(axes: Axes, shares: dict[str, float]) -> None:
    places = range(len(shares))
    values = np.array(list(shares.values()))
    names = [printable(name) for name in shares]
    longest = float(np.abs(values).max()) or 1.0
    axes.barh(
        places,
        values,
        height=0.65,
        color=BLUE,
    )
    ends = np.maximum(values, 0.0) + 0.01 * longest
    for place, share in enumerate(values):
        axes.text(
            ends[place],
            place,
            f"{share:z.2f}",
            va="center",
            fontsize=8.5,
            color=SOFT,
        )
    axes.set_yticks(places, names)
    axes.set_ylim(len(shares) - 0.4, -0.6)
    axes.set_xlim(min(0.0, values.min()), 1.1 * longest)
    axes.tick_params(length=0)
    axes.set_xlabel("share of the scores' variance")
