"""Sweeps as real processes: what they leave, stopped and killed anywhere, with a chief and workers,
with nonsense.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.program import epochal, outcome, start, stop_when

SEARCH = {"learning_rate": {"log": [0.003, 1]}, "optim": {"weight_decay": {"log": [1e-6, 1e-2]}}}
GRID = {"learning_rate": {"choice": [0.01, 0.03, 0.1, 0.3]}, "batch_size": {"choice": [64, 128]}}
TABLE = (
    "trial",
    "values",
    "status",
    "scores",
    "score",
    "spread",
    "epochs",
    "weights",
    "goes_on_from",
)
SMALL = ("--model", "mlp", "--epochs", "3", "--name", "s")


@pytest.fixture
def words(tmp_path: Path) -> Callable[..., list[str]]:
    """The words of a small sweep, its search file written."""

    def made(*more: str, search: dict[str, Any] | None = None) -> list[str]:
        (tmp_path / "search.yaml").write_text(yaml.safe_dump(search or SEARCH, sort_keys=False))
        return ["tune", "--search", "search.yaml", *SMALL, *more]

    return made


def trials(folder: Path) -> list[dict[str, Any]]:
    """What stands in the files of the trials, and no time."""
    records = [
        json.loads(path.read_text()) for path in sorted(folder.glob("sweeps/s/trials/*/trial.json"))
    ]
    return [{key: record.get(key) for key in TABLE} for record in records]


def ended(folder: Path) -> int:
    """How many trials have."""
    return sum(
        '"ended"' in path.read_text() for path in folder.glob("sweeps/s/trials/*/trial.json")
    )


def running(folder: Path) -> list[int]:
    """Processes that work in `folder`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").resolve() == folder.resolve() and b"app" in (
                place / "cmdline"
            ).read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return [process for process in found if process != os.getpid()]


def all_end(folder: Path, seconds: float = 300) -> bool:
    """Whether every process that works in `folder` ends by itself."""
    limit = time.monotonic() + seconds
    while running(folder) and time.monotonic() < limit:
        time.sleep(0.1)
    return not running(folder)


@pytest.mark.slow
def test_a_sweep_leaves_all_that_it_says(tmp_path: Path, words: Callable[..., list[str]]) -> None:
    done = epochal(
        words("--trials", "3", "--splits", "kfold:3", "--jobs", "2"), tmp_path, timeout=3000
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sweeps/s"
    left = {path.name for path in folder.iterdir()}
    assert left >= {
        "best.yaml",
        "leaderboard.csv",
        "report.html",
        "result.json",
        "tensorboard",
        "trials",
        "winner",
    }
    found = trials(tmp_path)
    assert [len(one["scores"]) == 3 or one["status"] == "dropped" for one in found] == [True] * 3
    result = json.loads((folder / "result.json").read_text())
    best = max((one for one in found if one["status"] == "completed"), key=lambda one: one["score"])
    assert result["winner"] == best["trial"]
    split = json.loads((folder / "trials" / best["trial"] / "split-1/result.json").read_text())
    assert not [key for key in split if key.startswith("test_")]
    assert (
        json.loads((folder / "winner/result.json").read_text())["test_accuracy"]
        == result["test_accuracy"]
    )
    again = epochal(["train", "--config", "sweeps/s/best.yaml", "--name", "again"], tmp_path)
    assert again.returncode == 0, again.stderr
    assert outcome(tmp_path / "runs/again") == outcome(folder / "winner")
    one = f"sweeps/s/trials/{best['trial']}/split-1"
    for command in (["evaluate", one], ["export", one], ["export", "sweeps/s/winner"]):
        assert epochal(command, tmp_path).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_killed_three_times_the_table_is_the_same(
    algorithm: str, tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    whole = tmp_path / "whole"
    killed = tmp_path / "killed"
    asked = words(
        "--trials", "8", "--algorithm", algorithm, search=GRID if algorithm == "grid" else SEARCH
    )
    for folder in (whole, killed):
        folder.mkdir()
        shutil.copy(tmp_path / "search.yaml", folder)
    done = epochal(asked, whole)
    assert done.returncode == 0, done.stderr
    for number, command in enumerate(
        (asked, ["tune", "--resume"], ["tune", "--resume", "sweeps/s"])
    ):
        process = start(command, killed)
        stop_when(
            process,
            lambda least=2 * number + 1: ended(killed) >= least,
            signal.SIGKILL,
            timeout=3000,
        )
        assert all_end(killed)
    done = epochal(["tune", "--resume"], killed)
    assert done.returncode == 0, done.stderr
    assert trials(killed) == trials(whole)
    assert len(trials(whole)) == (6 if algorithm == "hyperband" else 8)  # of three epochs
    assert outcome(killed / "sweeps/s/winner") == outcome(whole / "sweeps/s/winner")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_says_how_to_go_on(
    number: int, tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    process = start(words("--trials", "4"), tmp_path)
    code = stop_when(process, lambda: ended(tmp_path) >= 1, number)
    assert (code, running(tmp_path)) == (128 + number, [])
    assert "go on with: epochal tune --resume sweeps/s" in process.stderr_text
    done = epochal(["tune", "--resume"], tmp_path)
    assert (done.returncode, len(trials(tmp_path))) == (0, 4), done.stderr
    done = epochal(["tune", "--resume"], tmp_path)
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)


@pytest.mark.slow
def test_a_chief_and_two_workers_of_which_one_is_killed(
    tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    address = "127.0.0.1:18765"
    # At rates near 1 a trial may diverge, which is another way to end.
    search = SEARCH | {"learning_rate": {"log": [0.003, 0.3]}}
    chief = start(words("--trials", "6", "--chief", address, search=search), tmp_path)
    deadline = time.monotonic() + 600
    while not (tmp_path / "sweeps/s/config.yaml").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    one, other = (start(["tune", "--worker", address], tmp_path) for _ in range(2))
    stop_when(one, lambda: ended(tmp_path) >= 2, signal.SIGKILL, timeout=3000)
    _, errors = chief.communicate(timeout=3000)
    assert chief.returncode == 0, errors
    _, errors = other.communicate(timeout=3000)
    assert other.returncode == 0, errors
    found = trials(tmp_path)
    assert [(one["trial"], one["status"]) for one in found] == [
        (str(i), "completed") for i in range(6)
    ]


@pytest.mark.slow
def test_trials_may_be_judged_by_their_macro_f1(
    tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    done = epochal(words("--trials", "2", "--stopping.monitor", "val_macro_f1"), tmp_path)
    assert done.returncode == 0, done.stderr
    for found in trials(tmp_path):
        split = tmp_path / "sweeps/s/trials" / found["trial"] / "split-1/result.json"
        assert found["score"] == json.loads(split.read_text())["validation_macro_f1"]
    assert "validation macro F1" in (tmp_path / "sweeps/s/report.html").read_text()


@pytest.mark.slow
def test_hyperband_over_few_points_trains_the_winner_to_the_end(tmp_path: Path) -> None:
    search = {"learning_rate": {"choice": [0.003, 0.03, 0.1]}, "batch_size": {"choice": [32, 64]}}
    (tmp_path / "search.yaml").write_text(yaml.safe_dump(search))
    asked = ["tune", "--search", "search.yaml", "--model", "mlp", "--epochs", "9", "--name", "s"]
    asked += ["--algorithm", "hyperband", "--jobs", "2"]
    process = start(asked, tmp_path)
    stop_when(process, lambda: ended(tmp_path) >= 3, signal.SIGINT, timeout=3000)
    assert "has 6 points, and hyperband would begin 17" in process.stderr_text
    done = epochal(["tune", "--resume", "--jobs", "2"], tmp_path, timeout=3000)
    assert done.returncode == 0, done.stderr
    ends = []
    for path in tmp_path.glob("sweeps/s/trials/*/trial.json"):
        ends.append(json.loads(path.read_text())["until"])
    assert sorted(ends) == [1] * 6 + [3] * 2 + [9]
    result = json.loads((tmp_path / "sweeps/s/winner/result.json").read_text())
    assert result["epochs"] == 9


@pytest.mark.slow
def test_when_every_trial_fails_the_first_cause_is_told(
    tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    done = epochal(
        words("--trials", "9", search={"learning_rate": {"log": [1e20, 1e30]}}),
        tmp_path,
        timeout=3000,
    )
    assert done.returncode == 5
    assert (
        "no trial of sweeps/s could be scored; the first: loss is not finite"
        in done.stderr.splitlines()[-1]
    )
    assert len(trials(tmp_path)) == 3


@pytest.mark.slow
def test_a_promoted_trial_equals_one_trained_straight_through(
    tmp_path: Path, words: Callable[..., list[str]]
) -> None:
    course = ("--optim.ema", "0.9", "--schedule.shape", "cosine")
    search = {"learning_rate": {"log": [0.003, 0.1]}}  # at which none diverges
    asked = words(
        "--trials", "6", "--algorithm", "hyperband", "--splits", "kfold:3", *course, search=search
    )
    done = epochal(asked, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {len(one["scores"]) for one in trials(tmp_path)} == {
        3
    }  # none is dropped: a rung goes on with every split
    promoted = next(one for one in trials(tmp_path) if one["goes_on_from"] is not None)
    run = tmp_path / f"sweeps/s/trials/{promoted['trial']}/split-1"
    straight = epochal(
        ["train", "--config", str(run / "config.yaml"), "--name", "straight"], tmp_path
    )
    assert straight.returncode == 0, straight.stderr
    found = outcome(run)
    expected = outcome(tmp_path / "runs/straight")
    for one in (found, expected):
        one["result"] = {
            key: value for key, value in one["result"].items() if not key.startswith("test_")
        }
    assert found == expected
