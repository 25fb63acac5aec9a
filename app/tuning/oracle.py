"""KerasTuner behind one adapter: an oracle proposes trials, is told their scores, and is brought
back after a stop.

Nothing else of the program touches KerasTuner, but `algorithms.py` beneath. Its own files are not
used: they are written in place, one damaged file makes the whole project unloadable, and they lack
grid search's place and the Gaussian process's random state. Oracles are pure functions of their
seed and of what happened: here the same events happen to them again.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as kinds
from keras_tuner.engine.trial import Trial as TunerTrial
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src.engine import conditions

from epochal.app.errors import StorageError
from epochal.app.store.plan import Plan, Range, Space
from epochal.app.store.trials import Event, Proposal
from epochal.app.tuning.algorithms import BayesianOptimization, GridSearch, Hyperband, RandomSearch

_OBJECTIVE = "score"
_NO_LIMIT = (
    1_000_000  # failures in a row: the chief counts them; KerasTuner raises with its lock held
)


class Oracle:
    """Proposes trials; the same plan and the same events give the same proposals, bit for bit.

    Not safe for threads: its caller holds a lock.

    Args:
        plan: of the sweep.
        epochs: that Hyperband gives to the best trials.
    """

    def __init__(self, plan: Plan, epochs: int) -> None:
        self._plan = plan
        self._tuner = _make_tuner(plan, epochs)
        self._is_exhausted = False

    def propose(self, worker: str) -> Proposal | None:
        """Return the next trial for a worker, again the one that it has; lost ones come first.

        None says that there is nothing to do now: later, if `is_done` is False.
        """
        trial = self._tuner.create_trial(worker)
        if trial.status == TrialStatus.STOPPED and not self._tuner.ongoing_trials:
            self._is_exhausted = True
        if trial.status != TrialStatus.RUNNING:
            return None
        values = trial.hyperparameters.values
        return Proposal(
            trial=trial.trial_id,
            values=_configuration_values(values, self._plan.space),
            until=values.get("tuner/epochs"),
            promoted_from=values.get("tuner/trial_id"),
        )

    def tell(self, trial: str, score: float | None) -> None:
        """Note a trial's score; None, or a number that is not finite, for one that failed."""
        status = TrialStatus.FAILED
        if score is not None and math.isfinite(score):
            status = TrialStatus.COMPLETED
            self._tuner.update_trial(trial, {_OBJECTIVE: score})
        hyperparameters = self._tuner.trials[trial].hyperparameters
        ended = TunerTrial(
            hyperparameters=hyperparameters,
            trial_id=trial,
            status=status,
        )
        self._tuner.end_trial(ended)

    def lose(self, trial: str) -> None:
        """Take back a trial whose worker is gone, for the next one that asks."""
        ongoing = self._tuner.ongoing_trials
        for worker, running in list(ongoing.items()):
            if running.trial_id == trial:
                del ongoing[worker]
                self._tuner.tuner_ids.discard(worker)
                # KerasTuner's public way to retry a trial counts it as a failure.
                self._tuner._retry_queue.append(trial)

    def replay(self, events: Sequence[Event]) -> dict[str, Mapping[str, Any]]:
        """Let the events of a stopped sweep happen again; trials that had not ended are proposed
        again, in order.

        Returns:
            The values of every trial, by its name.

        Raises:
            StorageError: naming the first values that would now differ.
        """
        values: dict[str, Mapping[str, Any]] = {}
        open_trials: list[str] = []
        for event in events:
            name = event.trial
            if event.is_end:
                open_trials.remove(name)
                self.tell(name, event.score)
                continue
            values[name] = {}
            proposal = self.propose(name)
            if proposal is not None:
                values[name] = proposal.values
            _check_equal(values[name], event)
            open_trials.append(name)
        for name in reversed(open_trials):  # the last in KerasTuner's queue comes first
            self.lose(name)
        return values

    @property
    def is_done(self) -> bool:
        """Whether every trial has ended and none will follow.

        While no trial runs, the oracle is asked for one, which the next worker gets: there may be
        no worker whose asking would tell.
        """
        if self._tuner.ongoing_trials or self._tuner._retry_queue:
            return False
        if not self._is_exhausted:
            proposal = self.propose("nobody")
            if proposal is not None:
                self.lose(proposal.trial)
        return self._is_exhausted


def _make_tuner(plan: Plan, epochs: int) -> Any:
    """Return KerasTuner's oracle of a new sweep, which stores nothing."""
    algorithms: dict[str, Any] = {
        "random": RandomSearch,
        "bayesian": BayesianOptimization,
        "grid": GridSearch,
        "hyperband": partial(Hyperband, epochs),
    }
    direction = "min"
    if plan.sign > 0:
        direction = "max"
    tuner = algorithms[plan.algorithm](
        objective=keras_tuner.Objective(_OBJECTIVE, direction),
        max_trials=plan.trials,
        hyperparameters=_hyperparameters(plan.space),
        allow_new_entries=False,
        tune_new_entries=False,
        seed=_spread_seed(plan.seed),
        max_consecutive_failed_trials=_NO_LIMIT,
    )
    tuner.verbose = 0
    return tuner


def _spread_seed(seed: int) -> int:
    """Return a seed far from that of the neighbours, never 0, which means any seed to KerasTuner.

    KerasTuner draws its n-th number with the seed plus n: neighbours would propose the same trials,
    one place apart.
    """
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 2) + 1


def _hyperparameters(space: Space) -> Any:
    """Return a space in KerasTuner's own terms."""
    ranges: dict[str, Range] = {}
    converted = []
    for searched in space:
        converted.append(_hyperparameter(searched, ranges))
        ranges[searched.name] = searched
    hyperparameters = keras_tuner.HyperParameters()
    hyperparameters.merge(converted)
    return hyperparameters


def _hyperparameter(searched: Range, ranges: Mapping[str, Range]) -> Any:
    """Return a range in KerasTuner's own terms; `ranges` are those before it, by name."""
    name = searched.name
    parents = []
    for parent, allowed in (searched.when or {}).items():
        encoded = [_encode(ranges[parent], value) for value in allowed]
        parents.append(conditions.Parent(parent, encoded))
    if searched.kind == "int":
        low = int(searched.low or 0)
        high = int(searched.high or 0)
        step = int(searched.step or 1)
        return kinds.Int(
            name,
            low,
            high,
            step=step,
            conditions=parents,
        )
    # With a step, too: KerasTuner would miss the last of its values, as 1.0 // 0.1 is 9.
    if searched.listed is not None:
        choices = [_encode(searched, value) for value in searched.listed]
        return kinds.Choice(name, choices, conditions=parents)
    return kinds.Float(
        name,
        searched.low,
        searched.high,
        sampling=searched.kind,
        conditions=parents,
    )


def _encode(searched: Range, value: Any) -> Any:
    """Return a value as KerasTuner can hold it: null, lists and choices of several types stand as
    JSON.
    """
    if _is_plain(searched):
        return value
    return json.dumps(value)


def _decode(searched: Range, value: Any) -> Any:
    """Return the value that `_encode` was given."""
    if searched.kind == "choice" and not _is_plain(searched):
        return json.loads(value)
    return value


def _is_plain(searched: Range) -> bool:
    """Whether KerasTuner can hold the choices: all of a single type, and that numbers or words."""
    types = set(map(type, searched.values))
    if not types:
        return True
    return len(types) == 1 and types <= {int, float, str}


def _configuration_values(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Return KerasTuner's values by configuration field, as the search file would say them."""
    decoded: dict[str, Any] = {}
    for searched in space:
        name = searched.name
        if name in values and searched.is_active(decoded):
            decoded[name] = _decode(searched, values[name])
    return decoded


def _check_equal(values: Mapping[str, Any], event: Event) -> None:
    stored = event.values
    if stored is None or values == stored:
        return
    differing = []
    for name in sorted(values.keys() | stored.keys()):
        if values.get(name) != stored.get(name):
            differing.append(name)
    names = ", ".join(differing)
    raise StorageError(
        f"trial {event.trial} was made by another search space, or another version of KerasTuner: "
        f"{names} would now differ; start a new sweep"
    )
