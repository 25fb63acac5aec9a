"""Rates labelled from synthetic courses with a known answer, and a sweep on the digits."""

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
from epochal.app.training.probes.rate_sweep import Course, labelled, suggested, train_courses
from epochal.app.training.step.objective import LOSSES


def course_of(rate: float, *losses: float) -> Course:
    return Course(rate=rate, before=math.nan, losses=losses)


FALLING = [
    course_of(0.01, 2.3, 2.3, 2.29, 2.29),
    course_of(0.1, 2.3, 2.0, 1.6, 1.0),
    course_of(1.0, 2.3, 1.5, 1.0, 0.8),
    course_of(10.0, 2.3, 3.0, 2.0, 2.1),
    course_of(100.0, 2.3, 9.0, 30.0),
    course_of(1000.0, 2.3, math.nan),
]


def test_labels_follow_the_fall_of_the_loss() -> None:
    courses = labelled(FALLING)
    assert [course.label for course in courses] == [LOW, GOOD, GOOD, HIGH, DIVERGED, DIVERGED]
    assert suggested(courses) == 1.0
    assert {course.before for course in courses} == {2.3}


def test_when_nothing_falls_there_is_no_suggestion() -> None:
    with pytest.raises(TrainingFailed, match="no learning rate makes the loss fall"):
        labelled(
            [course_of(0.1, 2.3, 2.3), course_of(1.0, 2.3, 2.5), course_of(10.0, 2.3, math.inf)]
        )


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
    assert label_rates([1.0, 0.1, 0.01], finals[::-1], 2.3) == expected[::-1]


@given(
    rates=st.lists(st.floats(1e-4, 30.0), min_size=3, max_size=12, unique=True),
    steps=st.integers(1, 60),
    curvatures=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5),
)
def test_rising_rates_are_labelled_in_order(
    rates: list[float], steps: int, curvatures: list[float]
) -> None:
    """Gradient descent on a quadratic bowl: a mean of even powers, with one minimum over rates."""
    bowl = np.array(curvatures)
    start = np.log(10)
    finals = []
    for rate in rates:
        powers = 2 * np.arange(steps + 1)
        losses = [start * np.mean((1 - rate * bowl) ** power) for power in powers]
        finals.append(final_loss([min(loss, 1e30) for loss in losses]))
    assume(min(finals) < 0.99 * start)
    by_rate = sorted(zip(rates, label_rates(rates, finals, start), strict=True))
    labels = [label for _, label in by_rate]
    assert labels == sorted(labels, key=[LOW, GOOD, HIGH, DIVERGED].index)


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
    out, err = capsys.readouterr()
    figures = re.search(r"largest curvature .* (\S+): .* at (\S+) and bears (\S+)\n", err)
    curvature, fastest, limit = map(float, figures.groups())
    assert (fastest, limit) == pytest.approx((1 / curvature, 2 / curvature), rel=0.1)
    pattern = r"noise before training: (\S+) times .* batch of (\S+), equal to it in one of (\S+);"
    ratio, batch, equal = map(float, re.search(pattern, err).groups())
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
def test_gradients_are_clipped_as_in_training() -> None:
    config = Config(model="lenet300", optim=Optim(clip_norm=1e-9, weight_decay=0.0))
    courses, _ = train_courses(config, 3)
    for course in courses:  # so short a step changes no loss, whatever the rate
        assert course.losses == pytest.approx(courses[0].losses, abs=1e-5)


def test_the_command_refuses(capsys: Any) -> None:
    assert main(["lr-find", "--steps", "1"]) == 2
    assert "expected a number of steps from 2, got 1" in capsys.readouterr().err
