"""One cycle of the learning rate: its corners, its course, and that the optimizer's count alone decides it."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callbacks import OneCycle
from callbacks.one_cycle import one_cycle


def test_corners():
    assert one_cycle(0, 100) == pytest.approx(1 / 25)
    assert one_cycle(29, 100) == pytest.approx(1)
    assert one_cycle(99, 100) == one_cycle(5000, 100) == 1 / 250_000


def test_half_way_up_and_down():
    assert one_cycle(14, 100) == pytest.approx(1 / 25 + 24 / 25 * (1 - math.cos(math.pi * 14 / 29)) / 2)
    assert one_cycle(64, 100) == pytest.approx((1 + 1 / 250_000) / 2)


@given(st.integers(2, 400), st.floats(0.05, 0.9))
def test_it_rises_then_falls_and_stays_between(steps, warm_up):
    rates = [one_cycle(step, steps, warm_up=warm_up) for step in range(steps)]
    top = int(np.argmax(rates))
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert 0 < min(rates) <= max(rates) <= 1


@given(st.floats(1e-3, 1), st.integers(1, 50))
def test_flat_where_both_ends_are_the_peak(warm_up, steps):
    assert {one_cycle(step, steps, warm_up=warm_up, start=1.0, end=1.0) for step in range(steps)} == {1.0}


class Rates(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def test_every_step_has_its_rate_whatever_fit_it_belongs_to():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(9.0), "mse")
    seen = Rates()
    for _ in range(2):
        model.fit(np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0, callbacks=[OneCycle(0.5, 8), seen])
    assert seen.seen == pytest.approx([0.5 * one_cycle(step, 8) for step in range(8)])


@pytest.mark.parametrize(("arguments", "message"), [((0, 5), "peak .* got 0"), ((0.1, 0), "steps .* got 0")])
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        OneCycle(*arguments)


def test_an_optimizer_with_its_own_schedule_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 10)), "mse")
    with pytest.raises(ValueError, match=r"OneCycle sets the learning rate, but 'sgd.*' has its own schedule"):
        model.fit(np.ones((8, 2)), np.ones(8), verbose=0, callbacks=[OneCycle(0.5, 8)])
