"""Oracles brought back: whatever the algorithm, a stopped search proposes what an unstopped one
would have.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import pytest

from epochal.app.config import Config
from epochal.app.errors import StorageError
from epochal.app.store.plan import ALGORITHMS, Plan, Space
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import Outcome, Proposal, Trial, failed
from epochal.app.tuning.brackets import count_trials
from epochal.app.tuning.oracle import Oracle
from epochal.app.tuning.space import count_points, read_space

EPOCHS = 9
SEARCH = {
    "learning_rate": {"log": [1e-4, 1]},
    "epochs": {"int": [3, 9]},
    "optimizer": {"choice": ["sgd", "adam"]},
    "schedule": {"warm_up": {"choice": [None, 2]}},
    "optim": {"options": {"momentum": {"linear": [0.5, 0.9], "when": {"optimizer": "sgd"}}}},
}
GRID = {"learning_rate": {"choice": [0.1, 0.01, 0.001]}, "optimizer": {"choice": ["sgd", "adam"]}}
FLAT = {"batch_size": {"choice": [16, 32]}, "epochs": {"int": [3, 6]}}
# Adam alone, sgd with four momenta, two of which come in two kinds.
NESTED = {
    "optimizer": {"choice": ["sgd", "adam"]},
    "optim.options.momentum": {"choice": [0.0, 0.1, 0.2, 0.3], "when": {"optimizer": "sgd"}},
    "schedule.every": {"choice": [None, 2], "when": {"optim.options.momentum": [0.1, 0.2]}},
}
Score = Callable[[Trial], float | None]


def space_of(search: dict[str, Any]) -> Space:
    return read_space(search, "here", Config())


def plan_of(algorithm: str, trials: int = 12) -> Plan:
    search = GRID if algorithm == "grid" else SEARCH
    return Plan(space=space_of(search), algorithm=algorithm, trials=trials)


def new_sweep(plan: Plan, root: Path) -> Sweep:
    return Sweep.begin(plan, Config(), "s", root)


def distance(trial: Trial) -> float | None:
    """Score a trial by its learning rate and the length of its values; the third one fails."""
    if trial.name == "02":
        return None
    return distance_of_all(trial)


def distance_of_all(trial: Trial) -> float:
    values = trial.values
    return -abs(math.log10(values["learning_rate"]) + 2) - len(json.dumps(values)) / 1000


def shortness(trial: Trial) -> float:
    return len(json.dumps(trial.values)) / 7 % 1


def search(
    sweep: Sweep,
    *,
    score: Score,
    workers: int = 1,
    stop: int | None = None,
    epochs: int = EPOCHS,
) -> list[Trial]:
    """Resume a search until it ends, or after `stop` events in all; trials end in any order."""
    oracle = Oracle(sweep.plan, epochs)
    events = sweep.events()
    values = oracle.replay(events)
    for event in events:
        if not event.is_end and event.values is None:
            sweep.record_loss(event.trial, values[event.trial], events)
    count = len(events)
    order = random.Random(count)
    running: dict[str, Proposal] = {}
    while stop is None or count < stop:
        idle = [f"w{number}" for number in range(workers) if f"w{number}" not in running]
        proposal = oracle.propose(idle[0]) if idle else None
        if proposal is not None:
            running[idle[0]] = proposal
            if proposal.trial not in sweep.trials():
                sweep.record_creation(proposal)
                count += 1
        elif running:
            worker = order.choice(sorted(running, key=lambda name: running[name].trial))
            name = running.pop(worker).trial
            figure = score(sweep.trials()[name])
            outcome = failed("no score")
            if figure is not None:
                outcome = Outcome(status="completed", score=figure)
            sweep.record_end(name, outcome)
            oracle.tell(name, figure)
            count += 1
        else:
            assert oracle.is_done
            break
    return list(sweep.trials().values())


def propose_values(oracle: Oracle, count: int) -> list[Mapping[str, Any]]:
    """Return the values of as many proposals, each for a worker of its own."""
    values = []
    for number in range(count):
        proposal = oracle.propose(str(number))
        assert proposal is not None
        values.append(proposal.values)
    return values


def assert_all_once(trials: list[Trial], count: int) -> None:
    """Assert that so many trials completed, no two of them of the same values."""
    assert [trial.status for trial in trials] == ["completed"] * count
    assert len({json.dumps(trial.values, sort_keys=True) for trial in trials}) == count


@pytest.fixture(params=ALGORITHMS)
def plan(request: pytest.FixtureRequest) -> Plan:
    return plan_of(request.param)


@pytest.fixture
def ended(tmp_path: Path) -> Sweep:
    """A random search that ended, with nothing wrong."""
    sweep = new_sweep(plan_of("random"), tmp_path)
    search(sweep, score=distance)
    return sweep


def test_stopped_anywhere_the_trials_are_those_of_an_unstopped_search(
    plan: Plan, tmp_path: Path
) -> None:
    unstopped = search(new_sweep(plan, tmp_path), score=distance)
    assert len(unstopped) == (6 if plan.algorithm == "grid" else 12)
    for stop in (1, 4, 9):
        sweep = new_sweep(plan, tmp_path)
        search(sweep, score=distance, stop=stop)
        assert search(sweep, score=distance) == unstopped


def test_several_workers_complete_every_trial_once(plan: Plan, tmp_path: Path) -> None:
    sweep = new_sweep(plan, tmp_path)
    search(sweep, score=distance, workers=3, stop=8)
    trials = search(sweep, score=distance, workers=3)
    numbers = []
    for trial in trials:
        numbers += [trial.created, trial.ended]
    assert sorted(number for number in numbers if number) == list(range(1, 2 * len(trials) + 1))
    assert len(trials) == (6 if plan.algorithm == "grid" else 12)


@pytest.mark.parametrize(("ranges", "count"), [(FLAT, 8), (NESTED, 7)], ids=["flat", "nested"])
def test_a_finite_space_is_searched_to_its_end(
    ranges: dict[str, Any], count: int, tmp_path: Path
) -> None:
    plan = Plan(space=space_of(ranges), trials=count + 3)
    assert count_points(plan.space) == count
    for seed in range(20):
        sweep = new_sweep(replace(plan, seed=seed), tmp_path)
        assert_all_once(search(sweep, score=shortness), count)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_gaussian_process_searches_a_finite_space_to_its_end(tmp_path: Path) -> None:
    plan = Plan(space=space_of(FLAT), algorithm="bayesian", trials=8)
    for seed in range(20):
        sweep = new_sweep(replace(plan, seed=seed), tmp_path)
        assert_all_once(search(sweep, score=shortness), 8)


def test_a_grid_has_as_many_trials_as_points(tmp_path: Path) -> None:
    plan = Plan(space=space_of(NESTED), algorithm="grid", trials=10)
    assert_all_once(search(new_sweep(plan, tmp_path), score=shortness), 7)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_finite_space_that_was_stopped_is_resumed_alike(algorithm: str, tmp_path: Path) -> None:
    ranges = {"batch_size": {"choice": [16, 32, 64, 128, 256]}}
    plan = Plan(space=space_of(ranges), algorithm=algorithm, trials=9)
    unstopped = search(new_sweep(plan, tmp_path), score=shortness)
    assert_all_once(unstopped, 5)
    for stop in (5, 8, 9):
        sweep = new_sweep(plan, tmp_path)
        search(sweep, score=shortness, stop=stop)
        assert search(sweep, score=shortness) == unstopped


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_several_workers_search_a_finite_space_to_its_end(algorithm: str, tmp_path: Path) -> None:
    space = space_of({"batch_size": {"choice": [16, 32, 64, 128, 256, 512]}})
    sweep = new_sweep(Plan(space=space, algorithm=algorithm), tmp_path)
    assert_all_once(search(sweep, score=shortness, workers=3), 6)


def test_a_lost_trial_is_proposed_again_before_any_other() -> None:
    oracle = Oracle(plan_of("random"), EPOCHS)
    first = oracle.propose("a")
    second = oracle.propose("b")
    assert first is not None
    assert second is not None
    oracle.lose(first.trial)
    assert oracle.propose("c") == first
    assert oracle.propose("b") == second


def test_an_oracle_that_was_asked_whether_it_is_done_proposes_the_same(plan: Plan) -> None:
    asked = Oracle(plan, EPOCHS)
    for _ in range(3):
        assert not asked.is_done
    assert asked.propose("w") == Oracle(plan, EPOCHS).propose("w")


def test_a_proposal_that_was_made_before_is_replaced_among_real_numbers_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges = {"learning_rate": {"log": [0.01, 1]}, "batch_size": {"choice": [16, 32]}}
    same = {"status": "RUNNING", "values": {"learning_rate": 0.5, "batch_size": 16}}
    monkeypatch.setattr(keras_tuner.oracles.RandomSearchOracle, "populate_space", lambda *_: same)
    oracle = Oracle(Plan(space=space_of(ranges), trials=6), EPOCHS)
    rates = [point["learning_rate"] for point in propose_values(oracle, 6)]
    assert rates[0] == 0.5
    assert len(set(rates)) == 6
    assert all(0.01 <= rate <= 1 for rate in rates)


def test_a_range_with_a_step_has_its_last_value() -> None:
    space = space_of({"learning_rate": {"linear": [0.1, 1], "step": 0.1}})
    values = propose_values(Oracle(Plan(space=space), EPOCHS), 10)
    rates = sorted(point["learning_rate"] for point in values)
    assert rates == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_numbers_whole_and_not_are_choices() -> None:
    space = space_of({"optim.weight_decay": {"choice": [0, 1e-4]}})
    values = propose_values(Oracle(Plan(space=space), EPOCHS), 2)
    assert {point["optim.weight_decay"] for point in values} == {0, 1e-4}


def test_a_proposal_that_is_sent_in_json_arrives_as_it_was() -> None:
    oracle = Oracle(Plan(space=space_of(NESTED), trials=7), EPOCHS)
    inactive = []
    for worker in range(7):
        proposal = oracle.propose(str(worker))
        assert proposal is not None
        sent = json.loads(json.dumps(proposal.to_dict()))
        assert Proposal.from_dict(sent) == proposal
        inactive.append(proposal.values == {"optimizer": "adam"})
    assert any(inactive)


@pytest.mark.parametrize("damage", [b"", b'{"trial": "03", "val', b"[]", b"1", b"\xff\xfe"])
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_damaged_file_loses_its_trial_alone(
    damage: bytes, algorithm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(algorithm)
    sweep = new_sweep(plan, tmp_path)
    search(sweep, score=distance, stop=11)
    before = sweep.trials()
    name = sorted(before)[3]
    (sweep.trial_folder(name) / "trial.json").write_bytes(damage)
    sweep.events()
    assert len(caplog.messages) == 1
    assert f"trial {name} is lost" in caplog.messages[0]
    search(sweep, score=distance)
    after = sweep.trials()
    assert (after[name].status, after[name].values) == ("lost", before[name].values)
    for trial in before.values():
        if trial.name != name and trial.ended is not None:
            assert after[trial.name] == trial


WRONG: dict[str, list[Any]] = {
    "created": ["x", None, 0, -1, 1.5, True, [1]],
    "ended": ["x", None, 0],
    "score": ["x", [0.5], True],
    "status": [None, 1],
    "values": [None, [], "x"],
    "trial": ["4", 3, None],
}
WRONG_PAIRS = [(key, value) for key, values in WRONG.items() for value in values]


def rewrite(sweep: Sweep, trial: str, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what stands in a trial's file."""
    path = sweep.trial_folder(trial) / "trial.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(("key", "value"), WRONG_PAIRS)
def test_a_file_of_another_shape_is_damaged(
    key: str, value: Any, ended: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(ended, "03", lambda record: record.update({key: value}))
    events = [event for event in ended.events() if event.trial == "03"]
    assert [event.is_end for event in events] == [False, True]
    assert [event.values for event in events] == [None, None]
    assert events[1].score is None
    assert len(caplog.messages) == 1
    assert "trial 03 is lost" in caplog.messages[0]


@pytest.mark.parametrize("key", ["created", "score", "status", "values", "trial"])
def test_a_file_that_lacks_a_key_is_damaged(key: str, ended: Sweep) -> None:
    rewrite(ended, "03", lambda record: record.pop(key))
    assert ended.trials()["03"].is_damaged


def test_a_file_of_an_earlier_version_is_read(ended: Sweep) -> None:
    trial = ended.trials()["03"]

    def to_earlier(record: dict[str, Any]) -> None:
        for key in ("schema", "scores", "spread", "epochs", "weights", "seconds", "message"):
            del record[key]

    rewrite(ended, "03", to_earlier)
    assert ended.trials()["03"] == trial


def test_folders_that_are_no_trials_are_left_alone(
    ended: Sweep, caplog: pytest.LogCaptureFixture
) -> None:
    before = ended.events()
    folder = ended.folder / "trials"
    for name in ("junk", "3a", "²", ".old", "77"):
        (folder / name).mkdir()
        (folder / name / "note.txt").write_text("mine")
    (folder / "99").write_text("a file")
    assert ended.events() == before
    assert caplog.messages == []


@pytest.mark.parametrize(("trials", "expected"), [(1, 23), (45, 23), (46, 46)])
def test_hyperband_makes_whole_passes(trials: int, expected: int, tmp_path: Path) -> None:
    # nine epochs: 9 of one epoch, of which 3 go on to three and 1 to nine; 5 of three, of which 2
    # go on; 3 of nine
    plan = plan_of("hyperband", trials)
    assert count_trials(plan, EPOCHS) == expected
    sweep = new_sweep(replace(plan, trials=expected), tmp_path)
    rungs = sorted(trial.until or 0 for trial in search(sweep, score=distance_of_all))
    assert rungs == sorted(([1] * 9 + [3] * 8 + [9] * 6) * (expected // 23))


def rungs_of(trials: list[Trial]) -> dict[int, int]:
    """Return how many trials end after each number of epochs."""
    return dict(Counter(trial.until or 0 for trial in trials))


# Over 30 epochs the first bracket has 34 trials of 2 epochs, then 12 of 4, 4 of 10 and 2 of 30; the
# next one begins with 15 of 4 epochs.
SMALL_SPACES = [
    (2, {2: 2, 4: 1, 10: 1, 30: 1}),
    (6, {2: 6, 4: 2, 10: 1, 30: 1}),
    (40, {2: 34, 4: 12 + 6, 10: 4 + 2, 30: 2 + 1}),
]


@pytest.mark.parametrize(("points", "expected"), SMALL_SPACES)
@pytest.mark.parametrize("workers", [1, 3])
def test_hyperband_goes_on_with_the_points_that_there_are(
    points: int, expected: dict[int, int], workers: int, tmp_path: Path
) -> None:
    space = space_of({"batch_size": {"int": [1, points]}})
    plan = Plan(space=space, algorithm="hyperband", trials=200)
    plan = replace(plan, trials=count_trials(plan, 30))
    sweep = new_sweep(plan, tmp_path)
    trials = search(sweep, score=shortness, workers=workers, epochs=30)
    assert rungs_of(trials) == expected
    assert len(trials) == plan.trials
    begun = [trial.values["batch_size"] for trial in trials if trial.promoted_from is None]
    assert sorted(begun) == list(range(1, points + 1))
    assert_best_thirds_go_on(trials)


def assert_best_thirds_go_on(trials: list[Trial]) -> None:
    """Assert that no trial went on that was worse than one of its rung that did not."""
    promoted = {trial.promoted_from for trial in trials}
    first = [trial for trial in trials if trial.until == 2]
    going_on = [trial.score or 0.0 for trial in first if trial.name in promoted]
    staying = [trial.score or 0.0 for trial in first if trial.name not in promoted]
    assert len(going_on) == math.ceil(len(first) / 3)
    assert min(going_on) >= max(staying, default=-math.inf)


def test_hyperband_that_ran_out_of_points_is_resumed_alike(tmp_path: Path) -> None:
    space = space_of({"batch_size": {"int": [1, 12]}})
    plan = Plan(space=space, algorithm="hyperband", trials=17)
    unstopped = search(new_sweep(plan, tmp_path), score=shortness)
    assert rungs_of(unstopped) == {1: 9, 3: 3 + 3, 9: 1 + 1}
    for stop in (17, 21, 27):
        sweep = new_sweep(plan, tmp_path)
        search(sweep, score=shortness, stop=stop)
        assert search(sweep, score=shortness) == unstopped


@pytest.mark.parametrize("failing", [1, 8, 9])
def test_hyperband_trains_the_best_to_the_end_where_others_fail(
    failing: int, tmp_path: Path
) -> None:
    def score(trial: Trial) -> float | None:
        if int(trial.name) < failing:
            return None
        return distance_of_all(trial)

    plan = plan_of("hyperband", 23)
    trials = search(new_sweep(plan, tmp_path), score=score, workers=2)
    completed = [trial for trial in trials if trial.status == "completed"]
    begun = 9 - failing
    going_on = min(3, begun)
    to_the_end = min(1, begun)
    expected = Counter({1: begun, 3: 5 + going_on, 9: 3 + 2 + to_the_end})
    assert rungs_of(completed) == +expected


def test_seed_0_is_a_seed() -> None:
    first = Oracle(plan_of("random"), EPOCHS)
    second = Oracle(plan_of("random"), EPOCHS)
    assert propose_values(first, 12) == propose_values(second, 12)


def test_neighbouring_seeds_propose_other_trials() -> None:
    rates = set()
    for seed in range(3):
        plan = replace(plan_of("random", 20), seed=seed)
        rates |= {point["learning_rate"] for point in propose_values(Oracle(plan, EPOCHS), 20)}
    assert len(rates) == 60


def test_another_space_is_named(tmp_path: Path) -> None:
    sweep = new_sweep(plan_of("random"), tmp_path)
    search(sweep, score=distance, stop=6)
    other = Plan(space=space_of({**SEARCH, "epochs": {"int": [3, 90]}}), trials=12)
    with pytest.raises(StorageError, match=r"trial 00 .* epochs would now differ"):
        Oracle(other, EPOCHS).replay(sweep.events())


def test_values_that_keras_tuner_cannot_hold_come_back_as_they_were() -> None:
    values = propose_values(Oracle(plan_of("random"), EPOCHS), 12)
    assert {point["schedule.warm_up"] for point in values} == {None, 2}
    for point in values:
        assert ("optim.options.momentum" in point) == (point["optimizer"] == "sgd")
