"""The chief without training: whom it answers, what it hands out again, and how it and its workers come to an end."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.src.distribute import oracle_client

from epochal.app.commands.main import main
from epochal.app.config import Config
from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.store import files as storage
from epochal.app.store import sweep as folder
from epochal.app.store.run import Run
from epochal.app.store.trials import Records
from epochal.app.tuning import chief as chiefs
from epochal.app.tuning import oracles, sweep, worker
from epochal.app.tuning.chief import Chief, check_free, serve
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.space import read_space
from epochal.app.tuning.trial import REPORT

BASE = Config(model="softmax", epochs=2)
PLAN = Plan(space=read_space({"learning_rate": {"log": [0.001, 1]}}, "here", BASE), trials=3)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The folder of a sweep that has not begun."""
    monkeypatch.chdir(tmp_path)
    return folder.begin(PLAN, BASE, "s")


def chief_of(run: Run) -> Chief:
    """A chief as a sweep makes it, also where one was before."""
    records = Records(run.folder)
    oracle = oracles.make_oracle(PLAN, BASE.epochs)
    oracles.replay(oracle, PLAN, records.events(print))
    return Chief(PLAN, oracle, records, lambda trial: None, folder.identity(run))


@pytest.fixture
def answering(run: Run) -> Iterator[tuple[Chief, str]]:
    """A chief that listens, and where."""
    chief = chief_of(run)
    server, address = serve(chief, sweep.LOCAL)
    yield chief, address
    server.stop(grace=0)


@pytest.fixture
def ask(answering: tuple[Chief, str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """KerasTuner's own client."""
    host, _, port = answering[1].rpartition(":")
    for key, value in {"IP": host, "PORT": port}.items():
        monkeypatch.setenv(f"KERASTUNER_ORACLE_{key}", value)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "test")
    monkeypatch.setattr(oracle_client, "TIMEOUT", 10)
    return oracle_client.OracleClient(None)


def finish(chief: Chief, trial: Any, score: float = 0.5) -> None:
    """Leaves the report of a trial that went well."""
    place = chief.records.place(trial.trial_id)
    place.mkdir(parents=True, exist_ok=True)
    storage.write_json(place / REPORT, {"status": "completed", "score": score, "scores": [score]})


def test_a_worker_of_another_sweep_is_sent_away(answering: tuple[Chief, str], ask: Any) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask.create_trial("another/w")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert (answering[0].records.all(), answering[0].oracle.ongoing_trials) == ({}, {})


def test_such_a_worker_says_so_and_touches_nothing(answering: tuple[Chief, str], run: Run) -> None:
    other = folder.begin(PLAN, BASE, "other")
    before = sorted(other.folder.rglob("*"))
    with pytest.raises(
        UsageError, match="this chief's sweep is sweeps/s, not sweeps/other; give --sweep"
    ):
        worker.work(other, answering[1])
    assert sorted(other.folder.rglob("*")) == before


def test_every_trial_is_handed_out_once_and_then_all_is_done(
    answering: tuple[Chief, str], ask: Any, run: Run
) -> None:
    chief = answering[0]
    names = []
    while (trial := ask.create_trial(f"{folder.identity(run)}/w")).status == TrialStatus.RUNNING:
        names.append(trial.trial_id)
        finish(chief, trial)
        ask.end_trial(trial)
    assert (names, chief.done) == (["0", "1", "2"], True)


def test_what_a_chief_finds_out_by_itself_is_what_a_worker_is_given(
    answering: tuple[Chief, str], ask: Any, run: Run
) -> None:
    chief = answering[0]
    for _ in range(3):
        chief.settle()
    assert chief.records.all() == {}
    trial = ask.create_trial(f"{folder.identity(run)}/w")
    expected = oracles.make_oracle(PLAN, BASE.epochs).create_trial("w")
    assert (trial.trial_id, trial.hyperparameters.values) == ("0", expected.hyperparameters.values)


def test_a_chief_that_comes_back_after_the_last_trial_needs_no_worker(run: Run) -> None:
    chief = chief_of(run)
    oracle = oracles.make_oracle(PLAN, BASE.epochs)
    for _ in range(PLAN.trials):
        trial = oracle.create_trial("w")
        chief.records.created(oracles.asked(trial, PLAN))
        chief.records.ended(trial.trial_id, {"status": "completed", "score": 0.5})
        oracles.end(oracle, trial.trial_id, 0.5)
    again = chief_of(run)
    assert not again.done
    again.settle()
    assert again.done


def test_a_silent_worker_loses_its_trial_to_another(
    answering: tuple[Chief, str], ask: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chiefs, "LEASE", -1.0)
    sweep_id = folder.identity(run)
    first = ask.create_trial(f"{sweep_id}/silent")
    answering[0].lose_silent()
    assert ask.create_trial(f"{sweep_id}/other").trial_id == first.trial_id
    assert list(answering[0].oracle.ongoing_trials) == ["other"]


def test_a_chief_without_workers_ends_and_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PATIENCE", 0.3)
    with pytest.raises(
        TrainingFailed, match=r"no worker was heard of .* epochal tune --resume sweeps/s --chief 1"
    ):
        sweep.search(run, 0)


def test_a_worker_without_a_chief_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "START", 0.3)
    with pytest.raises(UsageError, match=r"--worker 127.0.0.1:1: no chief answered within"):
        worker.work(run, "127.0.0.1:1")


def test_a_port_that_is_taken_is_named_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="cannot listen there"):
            check_free(address)
        assert main(["tune", "--chief", address]) == 2
    assert f"error: --chief {address}: cannot listen there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    check_free(address)


@pytest.mark.parametrize(("name", "role"), [("chief-0", "chief"), ("worker-3", "worker")])
def test_a_scheduler_may_say_who_is_who(
    name: str, role: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    for key, value in {"ORACLE_IP": "10.0.0.1", "ORACLE_PORT": "8700", "TUNER_ID": name}.items():
        monkeypatch.setenv(f"KERASTUNER_{key}", value)
    assert main(["tune", "--jobs", "2"]) == 2
    assert "a chief waits for others" in capsys.readouterr().err
    asked = "cannot listen there" if role == "chief" else "no sweep there"
    monkeypatch.setattr("epochal.app.store.sweep.ROOT", Path("nowhere"))
    assert main(["tune"]) == 2
    assert asked in capsys.readouterr().err


def test_an_older_sweep_without_identity_can_be_read(run: Run) -> None:
    run.write_json("sweep.json", PLAN.to_dict())
    assert (folder.identity(run), folder.read(run)) == ("", (PLAN, replace(BASE)))
