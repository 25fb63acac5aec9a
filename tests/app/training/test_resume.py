"""A run that was stopped, however and wherever, ends with the same bytes as one that never was."""

import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.program import epochal, outcome, saved, start, stop_when

SEED = 20261121
# Dropout (random state), momentum, averages, augmentation, a rate that drops, a partial last batch.
AUGMENTED = [
    *["--augment.flip", "alternating", "--augment.flip-vertical", "true"],
    *["--augment.rotate", 5, "--augment.elastic", 4, "--augment.elastic-sigma", 2],
    *["--augment.brightness", 0.1, "--augment.blur", 0.5, "--augment.noise", 0.1],
    *["--augment.erase", 0.5, "--augment.cutout", 0.25],
]
AVERAGED = ["train", "--model", "mlp", "--epochs", 4, "--optim.ema", 0.9, "--stopping.keep", 2]
AVERAGED += AUGMENTED
MLP = [*AVERAGED, "--checkpoint-seconds", 0, "--name", "run"]
STEPS_PER_EPOCH = 17
STEPS = 4 * STEPS_PER_EPOCH


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    done = epochal(MLP, folder)
    assert done.returncode == 0, done.stderr
    return outcome(folder / "runs/run")


@pytest.mark.parametrize("times", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed(tmp_path: Path, uninterrupted: dict, times: int) -> None:
    points = [
        divmod(step, STEPS_PER_EPOCH)
        for step in sorted(random.Random(SEED).sample(range(1, STEPS - 1), times))
    ]
    print(f"seed {SEED}: killed after (epochs, steps) {points}")
    command = MLP
    run = tmp_path / "runs/run"
    for point in points:
        process = start(command, tmp_path)
        assert (
            stop_when(process, lambda point=point: saved(run) >= point, signal.SIGKILL)
            == -signal.SIGKILL
        )
        command = ["train", "--resume"]
    done = epochal(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(run) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_by_a_signal_and_resumed(
    tmp_path: Path, uninterrupted: dict, number: int, code: int
) -> None:
    run = tmp_path / "runs/run"
    process = start([*AVERAGED, "--checkpoint-seconds", 3600, "--name", "run"], tmp_path)
    assert stop_when(process, lambda: (run / "history.csv").exists(), number) == code
    assert "stopping after this step and saving" in process.stderr_text
    assert f"epochal train --resume {Path('runs/run')}" in process.stderr_text
    assert (1, 0) <= saved(run) <= (4, 0)
    assert epochal(["train", "--resume", "runs/run"], tmp_path).returncode == 0
    assert outcome(run) == uninterrupted


@pytest.mark.slow
def test_a_full_disk_costs_nothing_but_time(tmp_path: Path, uninterrupted: dict) -> None:
    run = tmp_path / "runs/run"
    stop_when(start(MLP, tmp_path), lambda: saved(run) >= (1, 3), signal.SIGKILL)
    before = saved(run)
    full = epochal(
        ["train", "--resume"], tmp_path, largest_file=100_000
    )  # a checkpoint takes megabytes
    assert full.returncode == 4, full.stderr
    assert re.search(r"error: .*epoch-000001-step-.*: File too large; free space.*\n$", full.stderr)
    assert saved(run) == before
    assert not list(run.glob("checkpoints/.*"))
    assert epochal(["train", "--resume"], tmp_path).returncode == 0
    assert outcome(run) == uninterrupted


@pytest.mark.slow
def test_two_devices_resume_to_the_bit(tmp_path: Path) -> None:
    several = [
        "train",
        "--model",
        "mlp",
        "--devices",
        2,
        "--epochs",
        2,
        "--checkpoint-seconds",
        0,
        "--name",
    ]
    assert epochal([*several, "whole"], tmp_path).returncode == 0
    run = tmp_path / "runs/killed"
    stop_when(start([*several, "killed"], tmp_path), lambda: saved(run) >= (0, 9), signal.SIGKILL)
    done = epochal(["train", "--resume", "killed"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(run) == outcome(tmp_path / "runs/whole")


@pytest.mark.parametrize(
    ("case", "devices", "places"),
    [
        ("one epoch", 2, 2),
        pytest.param("plateau", 1, 40, marks=pytest.mark.slow),
        pytest.param("plateau", 2, 40, marks=pytest.mark.slow),
        pytest.param("stuck", 1, 40, marks=pytest.mark.slow),
        pytest.param("stuck", 2, 40, marks=pytest.mark.slow),
    ],
)
def test_killed_before_any_operation_on_a_file(
    tmp_path: Path, case: str, devices: int, places: int
) -> None:
    arguments = [case, devices, places, tmp_path]
    command = [sys.executable, "-m", "tests.support.kills_child", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert f"{places} places" in done.stdout
