"""Rates labelled from synthetic courses with a known answer, and a sweep on the digits from end to end."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from app.cli import main
from app.config import Config, Optim
from app.errors import TrainingFailed
from app.training import rate_sweep
from app.training.rate_sweep import DIVERGED, GOOD, HIGH, LOW, Course, labelled, suggested


def course(rate: float, *losses: float) -> Course:
    return Course(rate=rate, before=math.nan, losses=losses)


FALLING = [
    course(0.01, 2.3, 2.3, 2.29, 2.29),
    course(0.1, 2.3, 2.0, 1.6, 1.0),
    course(1.0, 2.3, 1.5, 1.0, 0.8),
    course(10.0, 2.3, 3.0, 2.0, 2.1),
    course(100.0, 2.3, 9.0, 30.0),
    course(1000.0, 2.3, math.nan),
]


def test_labels_follow_the_fall_of_the_loss() -> None:
    courses = labelled(FALLING)
    assert [one.label for one in courses] == [LOW, GOOD, GOOD, HIGH, DIVERGED, DIVERGED]
    assert suggested(courses) == 1.0
    assert {one.before for one in courses} == {2.3}


def test_when_nothing_falls_there_is_no_suggestion() -> None:
    with pytest.raises(TrainingFailed, match="no learning rate makes the loss fall"):
        labelled([course(0.1, 2.3, 2.3), course(1.0, 2.3, 2.5), course(10.0, 2.3, math.inf)])


def test_the_command_sweeps_labels_suggests_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lr-find", "--model", "lenet300", "--steps", "25", "--plot", "find.png"]) == 0
    out, told = capsys.readouterr()
    curvature, fastest, limit = map(
        float, re.search(r"largest curvature .* (\S+): .* at (\S+) and bears (\S+)\n", told).groups()
    )
    assert (fastest, limit) == pytest.approx((1 / curvature, 2 / curvature), rel=0.1)
    head, *rows, last = out.splitlines()
    assert head.split()[:3] == ["rate", "final", "loss"]
    labels = [row.split(maxsplit=2)[2] for row in rows]
    assert labels == sorted(labels, key=[LOW, GOOD, HIGH, DIVERGED].index)
    assert {LOW, GOOD, DIVERGED} <= set(labels)
    good = [float(row.split()[0]) for row, label in zip(rows, labels, strict=True) if label == GOOD]
    assert float(last.removeprefix("suggested: --learning-rate ")) in good
    assert [path.name for path in tmp_path.iterdir()] == ["find.png"]
    assert Path("find.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_gradients_are_clipped_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_sweep, "labelled", list)
    courses, _ = rate_sweep.sweep(Config(model="lenet300", optim=Optim(clip_norm=1e-9, weight_decay=0.0)), 3)
    for one in courses:  # so short a step changes no loss, whatever the rate
        assert one.losses == pytest.approx(courses[0].losses, abs=1e-5)


def test_the_command_refuses(capsys: Any) -> None:
    assert main(["lr-find", "--steps", "1"]) == 2
    assert "expected a number of steps from 2, got 1" in capsys.readouterr().err
