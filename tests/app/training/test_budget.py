"""Training that ends in time: by a clock that the test moves, and by the real one."""

import io
import json
import signal

import keras
import numpy as np
import pytest

from epochal import callbacks
from epochal.callbacks import Budget
from epochal.callbacks.parts.optimizer import learning_rate as read
from tests.support.clock import Clock
from tests.support.program import epochal, saved, start, stop_when

EPOCHS = 1000
STEPS = 4


class Passing(keras.callbacks.Callback):
    """Lets time pass: for a step, and for a validation."""

    def __init__(self, clock, step, validation):
        super().__init__()
        self.clock = clock
        self.step = step
        self.validation = validation

    def on_train_batch_begin(self, batch, logs=None):
        self.clock.now += self.step

    def on_test_batch_begin(self, batch, logs=None):
        self.clock.now += self.validation


@pytest.fixture
def clock():
    return Clock(50.0)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def fit(model, *watching):
    x = np.zeros((8, 2))
    y = np.zeros((8, 1))
    validation = (x[:2], y[:2])
    options = {"epochs": EPOCHS, "batch_size": 2, "verbose": 0, "shuffle": False}
    return model.fit(x, y, validation_data=validation, callbacks=list(watching), **options)


def test_it_ends_so_that_what_comes_after_is_done_in_time(model, clock):
    budget = Budget(100.0, after=lambda validation: 3 * validation + 5, spent=10.0, clock=clock)
    fit(model, budget, Passing(clock, 1.0, 2.0))
    # An epoch takes 4 + 2 s. The 79 s for training are 13 epochs of 6 s and one step.
    assert clock.now - 50.0 == 79.0 + 2.0
    assert "1:40" in budget.reason


def test_the_share_is_that_of_the_time_for_training(model, clock):
    shares = []
    budget = Budget(45.0, after=lambda validation: 5.0, clock=clock)
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: shares.append(budget.share())
    )
    fit(model, budget, Passing(clock, 1.0, 2.0), note)
    expected = [(step + 1 + 2 * (step // STEPS)) / 40 for step in range(len(shares))]
    assert shares == pytest.approx(expected)
    assert shares[-1] == pytest.approx(1.0)


def test_a_schedule_that_follows_it_goes_through_its_whole_course(model, clock):
    rates = []
    budget = Budget(4.0, clock=clock)
    shape = callbacks.schedules.polynomial
    schedule = callbacks.RateSchedule(
        1.0, lambda step: shape(step, 1000), position=lambda: int(1000 * budget.share())
    )
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(read(model))
    )
    fit(model, schedule, budget, Passing(clock, 0.1, 0.0), note)
    assert rates == pytest.approx(np.linspace(1, 0, 40, endpoint=False), abs=0.002)


@pytest.mark.parametrize("leap", [0.1, 1.7])
def test_a_warm_up_that_follows_it_reaches_the_rate(model, clock, leap):
    rates = []
    budget = Budget(10.0, clock=clock)
    rising = callbacks.RateSchedule(
        1.0, lambda step: (step + 1) / 5, steps=5, position=lambda: int(10 * budget.share())
    )
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: rates.append(read(model))
    )
    fit(model, rising, budget, Passing(clock, leap, 0.0), note)
    assert [rates[0], *rates[-2:]] == pytest.approx([0.2, 1, 1])


def test_the_number_of_epochs_is_foretold(model, clock):
    told = []
    budget = Budget(61.0, clock=clock)
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: told.append(budget.expected_epochs()),
        on_epoch_end=lambda epoch, logs: told.append(budget.expected_epochs()),
    )
    stream = io.StringIO()
    progress = callbacks.Progress(
        stream=stream, expected_epochs=budget.expected_epochs, clock=clock
    )
    fit(model, budget, Passing(clock, 1.0, 2.0), note, progress)
    assert told == [0] + [10] * 19
    places = [line.split()[1] for line in stream.getvalue().splitlines()]
    assert places == ["1/?", *(f"{epoch}/10" for epoch in range(2, 11))]


def test_time_before_a_stop_counts_and_time_between_does_not(model, clock):
    first = Budget(100.0, spent=10.0, clock=clock)
    first.on_train_begin()
    clock.now += 30
    state = first.get_state()
    clock.now += 1e6
    rest = Budget(100.0, spent=4.0, clock=clock)
    rest.on_train_begin()
    rest.set_state(state)
    assert rest.share() == pytest.approx(30 / 86)
    clock.now += 43
    assert rest.share() == pytest.approx(73 / 86)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_budgets_are_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be above 0"):
        Budget(seconds)


def last_rate(run):
    """The learning rate of the last step that the run wrote down."""
    lines = (run / "iterations.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in lines]
    return [step["learning_rate"] for step in steps if "learning_rate" in step][-1]


@pytest.mark.slow
def test_a_budget_sees_the_whole_course_also_after_kill_9(tmp_path):
    """How close to its budget a command ends is measured by benchmarks/budget.py."""
    options = ["--budget", "40s", "--model", "resnet8"]
    done = epochal(["train", *options, "--name", "whole"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert last_rate(tmp_path / "runs/whole") == pytest.approx(0.1 * 0.1**2)

    run = tmp_path / "runs/torn"
    process = start(["train", *options, "--name", "torn"], tmp_path)
    stop_when(process, lambda: saved(run) >= (2, 0), signal.SIGKILL)
    done = epochal(["train", "--resume", "torn"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert last_rate(run) == pytest.approx(0.1 * 0.1**2)


@pytest.mark.slow
def test_a_budget_leaves_time_for_an_export(tmp_path):
    done = epochal(["train", "--budget", "60s", "--model", "resnet8", "--export"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1] / "saved_model.pb").exists()
