"""Rates labelled from synthetic courses with a known answer, and a sweep on the digits from end to end."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from epochal.app.commands.main import main
from epochal.app.config import Config, Optim
from epochal.app.errors import TrainingFailed
from epochal.app.evaluation.rate_labels import (
    DIVERGED,
    GOOD,
    HIGH,
    LOW,
    final_loss,
    guessing_loss,
    label_rates,
)
from epochal.app.training.probes import rate_sweep
from epochal.app.training.probes.rate_sweep import Course, labelled, suggested
from epochal.app.training.step.objective import LOSSES


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


@pytest.mark.parametrize(
    ("finals", "expected"),
    [
        ([2.3, 0.5, 2.3], [LOW, GOOD, DIVERGED]),
        ([2.4, 0.5, 2.2], [LOW, GOOD, HIGH]),
        ([0.860, 0.5, 0.862], [GOOD, GOOD, HIGH]),  # 80 % of the fall by 1.8 ends at 0.86
        ([2.265, 0.5, 2.263], [LOW, GOOD, HIGH]),  # 2 % ends at 2.264
        ([2.263, 0.5, 2.265], [LOW, GOOD, DIVERGED]),
        ([math.inf, 0.5, math.inf], [DIVERGED, GOOD, DIVERGED]),
        ([0.5, 0.5, 0.5], [GOOD, GOOD, GOOD]),
    ],
)
def test_where_one_label_ends(finals: list[float], expected: list[str]) -> None:
    assert label_rates([0.01, 0.1, 1.0], finals, 2.3) == expected
    assert (
        label_rates([1.0, 0.1, 0.01], finals[::-1], 2.3) == expected[::-1]
    )  # in whatever order they come


@given(
    rates=st.lists(st.floats(1e-4, 30.0), min_size=3, max_size=12, unique=True),
    steps=st.integers(1, 60),
    curvatures=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5),
)
def test_rising_rates_are_labelled_in_order(
    rates: list[float], steps: int, curvatures: list[float]
) -> None:
    """Gradient descent on a quadratic bowl: a mean of even powers, which has one minimum over the rates."""
    bowl = np.array(curvatures)
    courses = [
        [np.log(10) * np.mean((1 - rate * bowl) ** (2 * step)) for step in range(steps + 1)]
        for rate in rates
    ]
    finals = [final_loss([min(loss, 1e30) for loss in losses]) for losses in courses]
    assume(min(finals) < 0.99 * np.log(10))
    found = [
        label
        for _, label in sorted(zip(rates, label_rates(rates, finals, np.log(10)), strict=True))
    ]
    assert found == sorted(found, key=[LOW, GOOD, HIGH, DIVERGED].index)


@pytest.mark.parametrize("loss", list(LOSSES))
def test_what_guessing_costs(loss: str) -> None:
    scores = tf.zeros((5, 7))
    assert guessing_loss(loss, 7) == pytest.approx(
        float(tf.reduce_mean(LOSSES[loss](tf.range(5), scores)))
    )


def test_the_command_sweeps_labels_suggests_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lr-find", "--model", "lenet300", "--steps", "25", "--plot", "find.png"]) == 0
    out, told = capsys.readouterr()
    curvature, fastest, limit = map(
        float,
        re.search(r"largest curvature .* (\S+): .* at (\S+) and bears (\S+)\n", told).groups(),
    )
    assert (fastest, limit) == pytest.approx((1 / curvature, 2 / curvature), rel=0.1)
    ratio, batch, equal = map(
        float,
        re.search(
            r"noise before training: (\S+) times .* batch of (\S+), equal to it in one of (\S+);",
            told,
        ).groups(),
    )
    assert ratio**2 * batch == pytest.approx(equal, rel=0.1)
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
    courses, _ = rate_sweep.sweep(
        Config(model="lenet300", optim=Optim(clip_norm=1e-9, weight_decay=0.0)), 3
    )
    for one in courses:  # so short a step changes no loss, whatever the rate
        assert one.losses == pytest.approx(courses[0].losses, abs=1e-5)


def test_the_command_refuses(capsys: Any) -> None:
    assert main(["lr-find", "--steps", "1"]) == 2
    assert "expected a number of steps from 2, got 1" in capsys.readouterr().err
