"""KerasTuner's oracles: made from a plan, and brought back to where a stopped sweep was.

KerasTuner stores an oracle in files that are written in place, of which one damaged makes the whole project unloadable,
and does not store all of it (grid search and the Gaussian process's random state are lost). Oracles are pure functions
of their seed and of what they were asked and told: here they are asked and told the same again.
"""

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src.engine import conditions

from epochal.app.errors import StorageError
from epochal.app.store.trials import Event
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.space import Range, Space

OBJECTIVE = "score"
_FACTOR = 3  # of epochs from one rung of Hyperband to the next (Li et al. 2018, arXiv:1603.06560)
_NEVER = 1_000_000  # failures in a row: who counts them is the chief; KerasTuner would raise with its lock held
_ALGORITHMS = {
    "random": keras_tuner.oracles.RandomSearchOracle,
    "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
    "grid": keras_tuner.oracles.GridSearchOracle,
    "hyperband": keras_tuner.oracles.HyperbandOracle,
}


vars(conditions)["print"] = lambda *_: (
    None
)  # a left-over there writes to stdout for every condition that is sent


class _Distinct:
    """Makes of an oracle one that proposes no point twice and ends when, and only when, none is left.

    KerasTuner's Gaussian process proposes the same point again and again where there are few, and random search gives
    up after some collisions. Which point takes the place depends on the seed and on what was asked before alone.
    """

    hyperparameters: Any
    seed: int
    trials: dict[str, Any]
    _duplicate: Callable[[dict[str, Any]], bool]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """What a new trial is to try, as KerasTuner has it."""
        proposed: dict[str, Any] = super().populate_space(trial_id)  # type: ignore[misc]
        if proposed["values"] is not None and not self._duplicate(proposed["values"]):
            return proposed
        order = random.Random(f"{self.seed} {len(self.trials)}")
        points = _points(self.hyperparameters.space, order, {})
        values = next((point for point in points if not self._duplicate(point)), None)
        return {
            "status": TrialStatus.STOPPED if values is None else TrialStatus.RUNNING,
            "values": values,
        }


def _points(
    space: Sequence[Any], order: random.Random, before: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Every point of a space in a random order; of real numbers, one each stands for all.

    Args:
        space: KerasTuner's hyperparameters, parents first.
        order: draws.
        before: values of those that stand before them.
    """
    if not space:
        yield dict(before)
        return
    one, *rest = space
    if not all(condition.is_active(before) for condition in one.conditions):
        yield from _points(rest, order, before)
        return
    real = getattr(one, "step", 1) is None
    values = [one.prob_to_value(order.random())] if real else list(one.values)
    order.shuffle(values)
    for value in values:
        yield from _points(rest, order, {**before, one.name: value})


def make_oracle(plan: Plan, epochs: int) -> Any:
    """The oracle of a new sweep, which stores nothing; `epochs` is what Hyperband gives the best."""
    kind = _ALGORITHMS[plan.algorithm]
    limits: dict[str, Any] = {"max_trials": plan.trials}
    if plan.algorithm == "hyperband":
        limits = {
            "max_epochs": epochs,
            "factor": _FACTOR,
            "hyperband_iterations": plan.trials,
        }  # max_trials ends it
    kinds = (kind,) if plan.algorithm in ("grid", "hyperband") else (_Distinct, kind)
    unstored = type(
        kind.__name__, kinds, {"save": lambda self: None, "_save_trial": lambda self, trial: None}
    )
    oracle = unstored(
        objective=keras_tuner.Objective(OBJECTIVE, "min" if plan.monitor == "val_loss" else "max"),
        hyperparameters=hyperparameters(plan.space),
        allow_new_entries=False,
        tune_new_entries=False,
        seed=_seed(plan.seed),
        max_consecutive_failed_trials=_NEVER,
        **limits,
    )
    oracle.verbose = 0
    if plan.algorithm == "hyperband":
        oracle.max_trials = plan.trials
    return oracle


def trials_of(plan: Plan, epochs: int) -> int:
    """How many trials there will be at most: Hyperband makes whole passes, at least one, or nothing would go on."""
    if plan.algorithm != "hyperband":
        return plan.trials
    oracle = make_oracle(plan, epochs)
    brackets = range(oracle._get_num_brackets())
    each = sum(
        oracle._get_size(bracket, rung) for bracket in brackets for rung in range(bracket + 1)
    )
    return int(each * max(1, plan.trials // each))


def _seed(seed: int) -> int:
    """A seed far from that of the neighbours.

    KerasTuner draws its n-th number with the seed plus n: neighbours would propose the same trials, one place apart.
    0 means any seed to it.
    """
    return int(np.random.SeedSequence(seed).generate_state(1)[0] >> 2) + 1


def hyperparameters(space: Space) -> Any:
    """A space in KerasTuner's own terms; what it cannot hold (null, lists) stands as JSON."""
    found = keras_tuner.HyperParameters()
    found.merge([_declared(one, {other.name: other for other in space}) for one in space])
    return found


def _declared(one: Range, others: Mapping[str, Range]) -> Any:
    kinds = keras_tuner.engine.hyperparameters
    when = {
        parent: [_told(others[parent], value) for value in values]
        for parent, values in (one.when or {}).items()
    }
    more: dict[str, Any] = {
        "conditions": [conditions.Parent(*condition) for condition in when.items()]
    }
    if one.kind == "int":
        return kinds.Int(
            one.name, int(one.low or 0), int(one.high or 0), step=int(one.step or 1), **more
        )
    if (
        one.listed is not None
    ):  # also with a step, of which KerasTuner misses the last: 1.0 // 0.1 is 9
        return kinds.Choice(one.name, [_told(one, value) for value in one.listed], **more)
    return kinds.Float(one.name, one.low, one.high, sampling=one.kind, **more)


def _told(one: Range, value: Any) -> Any:
    return value if _plain(one) else json.dumps(value)


def _plain(one: Range) -> bool:
    """Whether KerasTuner can hold the choices: of a single type, and that numbers or words."""
    kinds = {type(value) for value in one.values}
    return not kinds or kinds in ({int}, {float}, {str})


def values_of(trial: Any, space: Space) -> dict[str, Any]:
    """A trial's configuration values, as the search file would say them."""
    values = trial.hyperparameters.values
    found = dict[str, Any]()
    for one in space:
        if one.name in values and one.searched_with(
            found
        ):  # one that came over the network holds defaults of the rest
            found[one.name] = (
                values[one.name]
                if one.kind != "choice" or _plain(one)
                else json.loads(values[one.name])
            )
    return found


def asked(trial: Any, plan: Plan) -> dict[str, Any]:
    """What a trial is to train: its values, and with Hyperband how far, and from where on."""
    own = trial.hyperparameters.values
    more = {"until": own.get("tuner/epochs"), "goes_on_from": own.get("tuner/trial_id")}
    return {"trial": trial.trial_id, "values": values_of(trial, plan.space), **more}


def replay(oracle: Any, plan: Plan, events: Sequence[Event]) -> dict[str, dict[str, Any]]:
    """Asks and tells a new oracle what the stopped sweep's was, in the same order; returns the values of every trial.

    What was going on is handed out again.

    Raises:
        StorageError: naming the first key in which the oracle now answers otherwise.
    """
    found: dict[str, dict[str, Any]] = {}
    going: list[str] = []
    for event in events:
        if event.score is None and not event.failed:
            trial = oracle.create_trial(event.trial)
            found[event.trial] = values_of(trial, plan.space)
            _check_equal(found[event.trial], event)
            going.append(event.trial)
        else:
            going.remove(event.trial)
            end(oracle, event.trial, event.score)
    for name in reversed(going):  # the last in the queue is the first to be handed out
        hand_back(oracle, name)
    return found


def end(oracle: Any, trial_id: str, score: float | None) -> None:
    """Tells the oracle a trial's score; None for one that failed."""
    failed = score is None or not math.isfinite(score)
    if not failed:
        oracle.update_trial(trial_id, {OBJECTIVE: score})
    known = oracle.trials[trial_id]
    status = TrialStatus.FAILED if failed else TrialStatus.COMPLETED
    oracle.end_trial(Trial(hyperparameters=known.hyperparameters, trial_id=trial_id, status=status))


def hand_back(oracle: Any, trial_id: str) -> None:
    """Lets the next worker have a trial whose worker is gone."""
    for worker, trial in list(oracle.ongoing_trials.items()):
        if trial.trial_id == trial_id:
            del oracle.ongoing_trials[worker]
            oracle.tuner_ids.discard(worker)
            oracle._retry_queue.append(
                trial_id
            )  # KerasTuner has no public way that does not count as a failure


def _check_equal(values: dict[str, Any], event: Event) -> None:
    if event.values is not None and values != event.values:
        differing = sorted(
            key
            for key in values.keys() | event.values.keys()
            if values.get(key) != event.values.get(key)
        )
        raise StorageError(
            f"trial {event.trial} was made by another search space, or another version of KerasTuner: "
            f"{', '.join(differing)} would now differ; start a new sweep"
        )
