"""Oracles brought back: whatever the algorithm, a stopped search proposes what an unstopped one would have."""

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from keras_tuner.engine.trial import Trial

from epochal.app.config import Config
from epochal.app.errors import StorageError
from epochal.app.store.trials import Records
from epochal.app.tuning import oracles
from epochal.app.tuning.plan import ALGORITHMS, Plan
from epochal.app.tuning.space import points, read_space

SEARCH = {
    "learning_rate": {"log": [1e-4, 1]},
    "epochs": {"int": [3, 9]},
    "optimizer": {"choice": ["sgd", "adam"]},
    "schedule": {"warm_up": {"choice": [None, 2]}},
    "optim": {"options": {"momentum": {"linear": [0.5, 0.9], "when": {"optimizer": "sgd"}}}},
}
GRID = {"learning_rate": {"choice": [0.1, 0.01, 0.001]}, "optimizer": {"choice": ["sgd", "adam"]}}


FLAT = {"batch_size": {"choice": [16, 32]}, "epochs": {"int": [3, 6]}}
NESTED = {
    "optimizer": {"choice": ["sgd", "adam"]},
    "optim.options.momentum": {"choice": [0.0, 0.1, 0.2, 0.3], "when": {"optimizer": "sgd"}},
    "schedule.every": {"choice": [None, 2], "when": {"optim.options.momentum": [0.1, 0.2]}},
}  # adam alone, sgd with four momenta, two of which come in two kinds


def plan_of(algorithm: str, trials: int = 12) -> Plan:
    space = read_space(GRID if algorithm == "grid" else SEARCH, "here", Config())
    return Plan(space=space, algorithm=algorithm, trials=trials, seed=0)


def distance(values: dict[str, Any]) -> float:
    return -abs(math.log10(values["learning_rate"]) + 2) - len(json.dumps(values)) / 1000


def failing_once(plan: Plan, name: str) -> Callable[[dict[str, Any]], float | None]:
    """What scores a trial: the third fails, but with Hyperband, which would wait for it."""
    return (lambda _: None) if name == "02" and plan.algorithm != "hyperband" else distance


def searched(
    plan: Plan,
    records: Records,
    workers: int,
    stop: int | None = None,
    score: Callable[[dict[str, Any]], float | None] | None = None,
) -> list[dict[str, Any]]:
    """Goes on with a search in `records` until it ends, or after `stop` events; trials end in any order."""
    oracle = oracles.make_oracle(plan, 9)
    order = random.Random(3)
    events = records.events(print)
    values = oracles.replay(oracle, plan, events)
    for event in events:
        if event.values is None and event.score is None and not event.failed:
            records.lost([one for one in events if one.trial == event.trial], values[event.trial])
    done = len(events)
    order.seed(done)
    names = [f"w{i}" for i in range(workers)]
    while stop is None or done < stop:
        idle = [name for name in names if name not in oracle.ongoing_trials]
        trial = oracle.create_trial(idle[0]) if idle else None
        if trial is not None and trial.status == "RUNNING":
            if trial.trial_id not in records.all():
                records.created(oracles.asked(trial, plan))
                done += 1
            continue
        if not oracle.ongoing_trials:
            break
        name = order.choice(sorted(trial.trial_id for trial in oracle.ongoing_trials.values()))
        found = records.all()[name]
        assert found is not None
        told = (score or failing_once(plan, name))(found["values"])
        records.ended(name, {"status": "failed" if told is None else "completed", "score": told})
        oracles.end(oracle, name, told)
        done += 1
    return table(records)


def table(records: Records) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in (record or {}).items() if k != "written"}
        for record in records.all().values()
    ]


@pytest.fixture(params=ALGORITHMS)
def plan(request: pytest.FixtureRequest) -> Iterator[Plan]:
    return plan_of(request.param)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """Of a random search that ended, with nothing wrong."""
    found = Records(tmp_path)
    searched(plan_of("random"), found, 1)
    return found


def test_stopped_anywhere_the_table_is_that_of_an_unstopped_search(
    plan: Plan, tmp_path: Path
) -> None:
    whole = searched(plan, Records(tmp_path / "whole"), 1)
    assert len(whole) == (6 if plan.algorithm == "grid" else 12)
    for stop in (1, 4, 9):
        records = Records(tmp_path / str(stop))
        searched(plan, records, 1, stop)
        assert searched(plan, records, 1) == whole


def test_several_workers_complete_every_trial_once(plan: Plan, tmp_path: Path) -> None:
    records = Records(tmp_path)
    searched(plan, records, 3, 8)
    found = searched(plan, records, 3)
    numbers = sorted(number for record in found for number in (record["created"], record["ended"]))
    assert numbers == list(range(1, 2 * len(found) + 1))
    assert len(found) == (6 if plan.algorithm == "grid" else 12)


@pytest.mark.parametrize(("search", "count"), [(FLAT, 8), (NESTED, 7)], ids=["flat", "nested"])
def test_a_finite_space_is_searched_to_its_end(
    search: dict[str, Any], count: int, tmp_path: Path
) -> None:
    plan = Plan(space=read_space(search, "here", Config()), trials=count + 3)
    assert points(plan.space) == count
    for seed in range(20):
        assert_all_once(
            searched(replace(plan, seed=seed), Records(tmp_path / str(seed)), 1, score=shortness),
            count,
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_gaussian_process_searches_a_finite_space_to_its_end(tmp_path: Path) -> None:
    plan = Plan(space=read_space(FLAT, "here", Config()), algorithm="bayesian", trials=8)
    for seed in range(20):
        assert_all_once(
            searched(replace(plan, seed=seed), Records(tmp_path / str(seed)), 1, score=shortness), 8
        )


def test_a_grid_has_as_many_trials_as_points(tmp_path: Path) -> None:
    plan = Plan(space=read_space(NESTED, "here", Config()), algorithm="grid", trials=10)
    assert_all_once(searched(plan, Records(tmp_path), 1, score=shortness), 7)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_a_finite_space_that_was_stopped_goes_on_alike(algorithm: str, tmp_path: Path) -> None:
    search = {"batch_size": {"choice": [16, 32, 64, 128, 256]}}
    plan = Plan(space=read_space(search, "here", Config()), algorithm=algorithm, trials=9)
    whole = searched(plan, Records(tmp_path / "whole"), 1, score=shortness)
    assert_all_once(whole, 5)
    for stop in (5, 8, 9):
        records = Records(tmp_path / str(stop))
        searched(plan, records, 1, stop, score=shortness)
        assert searched(plan, records, 1, score=shortness) == whole


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["random", "bayesian"])
def test_several_workers_search_a_finite_space_to_its_end(algorithm: str, tmp_path: Path) -> None:
    space = read_space({"batch_size": {"choice": [16, 32, 64, 128, 256, 512]}}, "here", Config())
    assert_all_once(
        searched(Plan(space=space, algorithm=algorithm), Records(tmp_path), 3, score=shortness), 6
    )


def test_a_proposal_that_was_made_before_is_replaced_among_real_numbers_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search = {"learning_rate": {"log": [0.01, 1]}, "batch_size": {"choice": [16, 32]}}
    plan = Plan(space=read_space(search, "here", Config()), trials=6)
    again = {"status": "RUNNING", "values": {"learning_rate": 0.5, "batch_size": 16}}
    monkeypatch.setattr(keras_tuner.oracles.RandomSearchOracle, "populate_space", lambda *_: again)
    oracle = oracles.make_oracle(plan, 9)
    rates = [
        oracles.values_of(oracle.create_trial(str(i)), plan.space)["learning_rate"]
        for i in range(6)
    ]
    assert rates[0] == 0.5
    assert len(set(rates)) == 6
    assert all(0.01 <= rate <= 1 for rate in rates)


def test_a_stepped_range_has_both_ends() -> None:
    plan = Plan(
        space=read_space({"learning_rate": {"linear": [0.1, 1], "step": 0.1}}, "here", Config()),
        trials=20,
    )
    oracle = oracles.make_oracle(plan, 9)
    found = [
        oracles.values_of(oracle.create_trial(str(i)), plan.space)["learning_rate"]
        for i in range(10)
    ]
    assert sorted(found) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]


def test_numbers_whole_and_not_are_choices() -> None:
    space = read_space({"optim.weight_decay": {"choice": [0, 1e-4]}}, "here", Config())
    oracle = oracles.make_oracle(Plan(space=space), 9)
    assert {
        oracles.values_of(oracle.create_trial(name), space)["optim.weight_decay"] for name in "ab"
    } == {0, 1e-4}


def test_a_condition_that_is_sent_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    oracle = oracles.make_oracle(plan_of("random"), 9)
    sent = oracle.create_trial("w").to_proto()
    assert len(sent.hyperparameters.space.float_space[1].conditions) == 1
    assert capsys.readouterr().out == ""


def test_a_trial_that_was_sent_has_the_same_values() -> None:
    plan = Plan(space=read_space(NESTED, "here", Config()), trials=7)
    oracle = oracles.make_oracle(plan, 9)
    made = [oracle.create_trial(str(i)) for i in range(7)]
    sent = [oracles.values_of(Trial.from_proto(trial.to_proto()), plan.space) for trial in made]
    assert sent == [oracles.values_of(trial, plan.space) for trial in made]
    assert {"optimizer": "adam"} in sent


def assert_all_once(trials: list[dict[str, Any]], count: int) -> None:
    """Whether so many trials ended, no two of them of the same values."""
    assert [one["status"] for one in trials] == ["completed"] * count
    assert len({json.dumps(one["values"], sort_keys=True) for one in trials}) == count


def shortness(values: dict[str, Any]) -> float:
    return len(json.dumps(values)) / 7 % 1


@pytest.mark.parametrize("damage", [b"", b'{"trial": "03", "val', b"[]", b"1", b"\xff\xfe"])
@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
def test_a_damaged_file_loses_its_trial_alone(
    damage: bytes, algorithm: str, tmp_path: Path
) -> None:
    plan = plan_of(algorithm)
    records = Records(tmp_path)
    told = []
    searched(plan, records, 1, 11)
    name = sorted(records.all())[3]
    before = {one["trial"]: one for one in table(records)}
    (records.place(name) / "trial.json").write_bytes(damage)
    records.events(told.append)
    assert [f"trial {name} is lost" in line for line in told] == [True]
    after = {one["trial"]: one for one in searched(plan, records, 1)}
    assert (after[name]["status"], after[name]["values"]) == ("lost", before[name]["values"])
    kept = [key for key, one in before.items() if key != name and "ended" in one]
    assert [after[key] for key in kept] == [before[key] for key in kept]


WRONG: dict[str, list[Any]] = {
    "created": ["x", None, 0, -1, 1.5, True, [1]],
    "ended": ["x", None, 0],
    "score": ["x", [0.5], True],
    "status": [None, 1],
    "values": [None, [], "x"],
    "trial": ["4", 3, None],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_a_file_of_another_shape_is_damaged(key: str, value: Any, records: Records) -> None:
    place = records.place("03") / "trial.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), key: value}))
    told: list[str] = []
    events = [
        (event.trial, event.failed) for event in records.events(told.append) if event.trial == "03"
    ]
    assert events == [("03", False), ("03", True)]
    assert (
        [line for line in told if "03/trial.json is damaged: trial 03 is lost" in line]
        == told
        != []
    )


@pytest.mark.parametrize("key", ["created", "score", "status", "values", "trial"])
def test_a_file_that_lacks_a_key_is_damaged(key: str, records: Records) -> None:
    place = records.place("03") / "trial.json"
    place.write_text(
        json.dumps(
            {name: one for name, one in json.loads(place.read_text()).items() if name != key}
        )
    )
    assert records.all()["03"] is None


def test_folders_that_are_no_trials_are_left_alone(records: Records) -> None:
    told: list[str] = []
    before = records.events(print)
    for name in ("junk", "3a", "²", ".old", "77"):
        (records.folder / name).mkdir()
        (records.folder / name / "note.txt").write_text("mine")
    (records.folder / "99").write_text("a file")
    assert (records.events(told.append), told) == (before, [])


@pytest.mark.parametrize(("trials", "made"), [(1, 23), (45, 23), (46, 46)])
def test_hyperband_makes_whole_passes(trials: int, made: int, tmp_path: Path) -> None:
    # nine epochs: 9 of one epoch, of which 3 go on to three and 1 to nine; 5 of three, of which 2 go on; 3 of nine
    plan = plan_of("hyperband", trials)
    assert oracles.trials_of(plan, 9) == made
    found = searched(replace(plan, trials=made), Records(tmp_path), 1)
    assert sorted(one["until"] for one in found) == sorted(
        ([1] * 9 + [3] * 8 + [9] * 6) * (made // 23)
    )


def test_seed_0_is_a_seed(tmp_path: Path) -> None:
    first, second = (searched(plan_of("random"), Records(tmp_path / name), 1) for name in "ab")
    assert first == second


def test_neighbouring_seeds_propose_other_trials() -> None:
    found = []
    space = plan_of("random").space
    for seed in range(3):
        oracle = oracles.make_oracle(Plan(space=space, trials=20, seed=seed), 9)
        found += [oracles.values_of(oracle.create_trial(str(i)), space) for i in range(20)]
    assert len({one["learning_rate"] for one in found}) == 60


def test_another_space_is_named(tmp_path: Path) -> None:
    records = Records(tmp_path)
    searched(plan_of("random"), records, 1, 6)
    other = Plan(
        space=read_space({**SEARCH, "epochs": {"int": [3, 90]}}, "here", Config()), trials=12
    )
    with pytest.raises(
        StorageError,
        match=r"trial 00 was made by another search space, .*: epochs would now differ",
    ):
        searched(other, records, 1)


def test_what_keras_tuner_cannot_hold_comes_back_as_it_was(tmp_path: Path) -> None:
    found = searched(plan_of("random"), Records(tmp_path), 1)
    assert {record["values"]["schedule.warm_up"] for record in found} == {None, 2}
    assert all(
        ("optim.options.momentum" in record["values"]) == (record["values"]["optimizer"] == "sgd")
        for record in found
    )
