"""KerasTuner's oracles, mended: they write no files, propose no point twice, and Hyperband goes on
with what there is.
"""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus

from epochal.app.tuning.brackets import Bracket, plan_pass


class _Unstored:
    """Keeps one of KerasTuner's oracles from writing files."""

    def save(self) -> None:
        """Write nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Write nothing."""


class _Distinct:
    """Makes one of KerasTuner's oracles propose no point twice, and end when, and only when, none
    is left.

    Its Gaussian process proposes the same point again and again where there are few, and its random
    search gives up after some collisions.
    """

    _duplicate: Any

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return what a new trial is to try, as KerasTuner has it."""
        proposed: dict[str, Any] = super().populate_space(trial_id)  # type: ignore[misc]
        values = proposed["values"]
        if values is not None and not self._duplicate(values):
            return proposed
        point = _untried_point(self)
        if point is None:
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": point}


class RandomSearch(_Unstored, _Distinct, keras_tuner.oracles.RandomSearchOracle):
    """Random points, none twice."""


class BayesianOptimization(_Unstored, _Distinct, keras_tuner.oracles.BayesianOptimizationOracle):
    """A Gaussian process, asked for no point twice."""


class GridSearch(_Unstored, keras_tuner.oracles.GridSearchOracle):
    """Every point, in order."""


class Hyperband(_Unstored, keras_tuner.Oracle):
    """Hyperband, whose brackets go on with what there is where a trial fails or no point is left.

    Args:
        epochs: that the best trials are trained.
        options: of KerasTuner's oracle.
    """

    def __init__(self, epochs: int, **options: Any) -> None:
        super().__init__(**options)
        self._epochs = epochs
        self._brackets: list[Bracket] = []  # that have begun
        self._planned: list[Bracket] = []  # that are left of the pass

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Return what a new trial is to try: that of the first bracket that has one to propose."""
        for bracket in self._brackets:
            values = self._propose_in(bracket, trial_id)
            if values is not None:
                return {"status": TrialStatus.RUNNING, "values": values}
        while self._has_bracket_left():
            if not self._planned:
                self._planned = plan_pass(self._epochs)
            bracket = self._planned.pop(0)
            self._brackets.append(bracket)
            values = self._propose_in(bracket, trial_id)
            if values is not None:
                return {"status": TrialStatus.RUNNING, "values": values}
        if self.ongoing_trials:  # one of them may be promoted
            return {"status": TrialStatus.IDLE, "values": None}
        return {"status": TrialStatus.STOPPED, "values": None}

    def _has_bracket_left(self) -> bool:
        """Whether the trials of all brackets that have begun, if none fails, are fewer than planned
        and a point is left.
        """
        if self._brackets and not self._brackets[-1].size:
            return False
        count = sum(bracket.trial_count for bracket in self._brackets)
        return count < self.max_trials

    def _propose_in(self, bracket: Bracket, trial_id: str) -> dict[str, Any] | None:
        """Return the values of a bracket's next trial, None while there is none."""
        if len(bracket.rungs[0]) < bracket.size:
            values = self._random_values() or _untried_point(self)
            if values is not None:
                bracket.rungs[0].append(trial_id)
                return {**values, "tuner/epochs": bracket.epochs[0]}
            bracket.size = len(bracket.rungs[0])
        promotion = bracket.best_to_promote(self._scores())
        if promotion is None:
            return None
        rung, origin = promotion
        bracket.promoted.add(origin)
        bracket.rungs[rung + 1].append(trial_id)
        values = dict(self.trials[origin].hyperparameters.values)
        values["tuner/epochs"] = bracket.epochs[rung + 1]
        values["tuner/trial_id"] = origin
        return values

    def _scores(self) -> dict[str, float]:
        """Return the scores of the trials that ended, the largest the best; minus infinity of those
        that failed.
        """
        scores = {}
        for name, trial in self.trials.items():
            if trial.status == TrialStatus.FAILED:
                scores[name] = -math.inf
            elif trial.status == TrialStatus.COMPLETED and self.objective.direction == "max":
                scores[name] = trial.score
            elif trial.status == TrialStatus.COMPLETED:
                scores[name] = -trial.score
        return scores

    def _compute_values_hash(self, values: Mapping[str, Any]) -> str:
        """Return a digest of a point, whatever the rung of its trial."""
        point = {}
        for name, value in values.items():
            if not name.startswith("tuner/"):
                point[name] = value
        return str(super()._compute_values_hash(point))


def _untried_point(tuner: Any) -> dict[str, Any] | None:
    """Return a point that no trial of KerasTuner's oracle has tried, None where none is left; it
    depends on the oracle's seed and on the number of trials alone.
    """
    order = random.Random(f"{tuner.seed} {len(tuner.trials)}")
    for point in _points(tuner.hyperparameters.space, order, {}):
        if not tuner._duplicate(point):
            return point
    return None


def _points(
    space: Sequence[Any], order: random.Random, before: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield every point of a space in a random order; of real numbers, one each stands for all.

    Args:
        space: KerasTuner's hyperparameters, parents first.
        order: draws.
        before: values of the hyperparameters before them.
    """
    if not space:
        yield dict(before)
        return
    first, *rest = space
    for condition in first.conditions:
        if not condition.is_active(before):
            yield from _points(rest, order, before)
            return
    if getattr(first, "step", 1) is None:  # real numbers
        values = [first.prob_to_value(order.random())]
    else:
        values = list(first.values)
    order.shuffle(values)
    for value in values:
        point = {**before, first.name: value}
        yield from _points(rest, order, point)
