"""The chief without training: whom it answers, what it hands out again, and how it and its workers
come to an end.
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from epochal.app.commands.main import main
from epochal.app.config import Config
from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.store.plan import Plan
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import Outcome, failed
from epochal.app.tuning import worker
from epochal.app.tuning.chief import LEASE, Chief
from epochal.app.tuning.oracle import Oracle
from epochal.app.tuning.service import Client, check_free, serve
from epochal.app.tuning.space import read_space
from epochal.app.tuning.sweep import LOCAL, run_sweep

BASE = Config(model="softmax", epochs=2)
PLAN = Plan(space=read_space({"learning_rate": {"log": [0.001, 1]}}, "here", BASE), trials=3)


@dataclass
class Clock:
    """Time that passes when a test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A sweep that has not begun."""
    monkeypatch.chdir(tmp_path)
    return Sweep.begin(PLAN, BASE, "s")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def chief_of(sweep: Sweep, clock: Clock) -> Chief:
    """A chief as a sweep makes it, also where one was before."""
    oracle = Oracle(PLAN, BASE.epochs)
    oracle.replay(sweep.events())
    return Chief(sweep, oracle, lambda trial: None, clock)


@pytest.fixture
def chief(sweep: Sweep, clock: Clock) -> Chief:
    return chief_of(sweep, clock)


@pytest.fixture
def address(chief: Chief) -> Iterator[str]:
    """Where that chief listens."""
    server, address = serve(chief, LOCAL)
    yield address
    server.stop(grace=0)


def finish(chief: Chief, trial: str, score: float | None = 0.5) -> None:
    """End a trial as its worker does."""
    outcome = failed("it diverged")
    if score is not None:
        outcome = Outcome(status="completed", score=score, scores=(score,))
    chief.sweep.write_outcome(trial, outcome)
    chief.end_trial(trial)


def test_a_worker_of_another_sweep_is_sent_away_and_touches_nothing(
    chief: Chief, address: str
) -> None:
    other = Sweep.begin(PLAN, BASE, "other")
    before = sorted(other.folder.rglob("*"))
    with pytest.raises(UsageError, match=r"sweeps/s, not sweeps/other; give --sweep"):
        worker.work(other, address)
    assert sorted(other.folder.rglob("*")) == before
    assert chief.sweep.trials() == {}
    assert chief.leases == {}


def test_every_trial_is_handed_out_once_and_then_all_is_done(chief: Chief, address: str) -> None:
    client = Client(address, chief.sweep, "w")
    names = []
    while True:
        proposal, is_done = client.next_trial()
        if proposal is None:
            break
        names.append(proposal.trial)
        outcome = Outcome(status="completed", score=0.5, scores=(0.5,))
        chief.sweep.write_outcome(proposal.trial, outcome)
        client.end_trial(proposal.trial)
    assert names == ["0", "1", "2"]
    assert is_done
    assert chief.is_done


def test_a_chief_that_looks_whether_all_is_done_hands_out_the_same(chief: Chief) -> None:
    for _ in range(3):
        assert not chief.is_done
    assert chief.sweep.trials() == {}
    assert chief.next_trial("w") == Oracle(PLAN, BASE.epochs).propose("w")


def test_a_chief_that_comes_back_after_the_last_trial_needs_no_worker(
    chief: Chief, clock: Clock
) -> None:
    for _ in range(PLAN.trials):
        proposal = chief.next_trial("w")
        assert proposal is not None
        finish(chief, proposal.trial)
    assert chief_of(chief.sweep, clock).is_done


def test_a_silent_worker_loses_its_trial_to_another(chief: Chief, clock: Clock) -> None:
    first = chief.next_trial("silent")
    second = chief.next_trial("beating")
    assert first is not None
    assert second is not None
    clock.seconds += 0.6 * LEASE
    chief.note_life(second.trial)
    clock.seconds += 0.6 * LEASE
    chief.lose_silent_workers()
    assert list(chief.leases) == ["beating"]
    assert chief.next_trial("other") == first


def test_a_trial_that_costs_three_workers_has_failed(chief: Chief) -> None:
    for number in range(3):
        proposal = chief.next_trial(f"w{number}")
        assert proposal is not None
        assert proposal.trial == "0"
        chief.lose_worker(f"w{number}", "with exit code 9")
    trial = chief.sweep.trials()["0"]
    assert trial.status == "failed"
    assert "exit code 9" in (trial.message or "")


def test_three_failures_in_a_row_end_the_search_also_after_a_resume(
    chief: Chief, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Plan(space=PLAN.space, trials=9)
    sweep = Sweep.begin(plan, BASE, "long")
    for stage in range(2):  # two failures, and one more after the resume
        oracle = Oracle(plan, BASE.epochs)
        oracle.replay(sweep.events())
        chief = Chief(sweep, oracle, lambda trial: None, clock)
        for _ in range(2 - stage):
            assert not chief.is_done
            proposal = chief.next_trial("w")
            assert proposal is not None
            finish(chief, proposal.trial, None)
    assert chief.is_done
    assert chief.next_trial("w") is None
    assert "it diverged" in caplog.messages[-1]
    assert len(sweep.trials()) == 3


def test_a_search_that_was_given_up_ends_although_a_trial_was_lost(chief: Chief) -> None:
    plan = Plan(space=PLAN.space, trials=9)
    sweep = Sweep.begin(plan, BASE, "long")
    chief = Chief(sweep, Oracle(plan, BASE.epochs), lambda trial: None)
    chief.next_trial("lost")
    for _ in range(3):
        proposal = chief.next_trial("w")
        assert proposal is not None
        finish(chief, proposal.trial, None)
    assert not chief.is_done
    chief.lose_worker("lost", "with exit code 9")
    assert chief.is_done


def test_a_trial_that_two_workers_ended_counts_once(chief: Chief) -> None:
    proposal = chief.next_trial("w")
    assert proposal is not None
    finish(chief, proposal.trial, 0.5)
    finish(chief, proposal.trial, 0.9)
    assert chief.ended_count == 1
    assert chief.sweep.trials()[proposal.trial].score == 0.5


def test_a_worker_that_left_no_report_has_failed(chief: Chief) -> None:
    proposal = chief.next_trial("w")
    assert proposal is not None
    chief.end_trial(proposal.trial)
    assert chief.sweep.trials()[proposal.trial].status == "failed"


def test_a_chief_without_workers_ends_and_says_how_to_go_on(sweep: Sweep) -> None:
    with pytest.raises(TrainingFailed, match=r"epochal tune --resume sweeps/s --chief 1"):
        run_sweep(sweep, 0, patience=0.3)


def test_a_worker_without_a_chief_ends(sweep: Sweep) -> None:
    with pytest.raises(UsageError, match=r"--worker 127.0.0.1:1: no chief answered"):
        worker.work(sweep, "127.0.0.1:1", connect=0.3)


def test_a_port_that_is_taken_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="cannot listen there"):
            check_free(address)
        assert main(["tune", "--chief", address]) == 2
    assert f"--chief {address}: cannot listen there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    check_free(address)


@pytest.mark.parametrize(("name", "role"), [("chief-0", "chief"), ("worker-3", "worker")])
def test_a_scheduler_may_say_who_is_who(
    name: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    # An address of no machine here: the chief cannot listen, and the worker finds no sweep.
    for key, value in {"ORACLE_IP": "10.0.0.1", "ORACLE_PORT": "8700", "TUNER_ID": name}.items():
        monkeypatch.setenv(f"KERASTUNER_{key}", value)
    assert main(["tune", "--jobs", "2"]) == 2
    assert "--jobs" in capsys.readouterr().err
    assert main(["tune"]) == 2
    expected = "cannot listen there" if role == "chief" else "no sweep there"
    assert expected in capsys.readouterr().err


def test_an_older_sweep_without_identity_can_be_read(sweep: Sweep) -> None:
    (sweep.folder / "sweep.json").write_text(
        '{"space": [{"name": "learning_rate", "kind": "log", "low": 0.001, "high": 1}], '
        '"trials": 3}'
    )
    older = Sweep(sweep.folder)
    assert older.identity == ""
    assert older.plan == PLAN
    assert older.base == BASE
