"""Shapes of the rate against values by hand, and the callback that follows them."""

import math
from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.callbacks import RateSchedule
from epochal.callbacks.schedules import (
    cosine,
    exponential,
    inverse,
    one_cycle,
    polynomial,
    stepped,
    warmed,
)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (partial(stepped, milestones=[2, 4], factor=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
        (partial(inverse, offset=2), [1, 2 / 3, 1 / 2, 2 / 5, 1 / 3, 2 / 7]),
        (partial(exponential, steps=4, end=1 / 16), [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16]),
        (partial(polynomial, steps=4), [1, 3 / 4, 1 / 2, 1 / 4, 0, 0]),
        (partial(polynomial, steps=4, power=2, end=0.2), [1, 0.65, 0.4, 0.25, 0.2, 0.2]),
        (partial(cosine, steps=4), [1, (1 + 0.5**0.5) / 2, 1 / 2, (1 - 0.5**0.5) / 2, 0, 0]),
        (
            partial(warmed, warm_up=3, shape=partial(polynomial, steps=4)),
            [1 / 3, 2 / 3, 1, 1, 3 / 4, 1 / 2],
        ),
        (
            partial(warmed, warm_up=0, shape=partial(polynomial, steps=4)),
            [1, 3 / 4, 1 / 2, 1 / 4, 0, 0],
        ),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else "",
)
def test_values(shape, expected):
    assert [shape(step) for step in range(6)] == pytest.approx(expected)


def test_corners_of_one_cycle():
    assert one_cycle(0, 100) == pytest.approx(1 / 25)
    assert one_cycle(29, 100) == pytest.approx(1)
    assert one_cycle(99, 100) == one_cycle(5000, 100) == 1 / 250_000


def test_one_cycle_half_way_up_and_down():
    assert one_cycle(14, 100) == pytest.approx(
        1 / 25 + 24 / 25 * (1 - math.cos(math.pi * 14 / 29)) / 2
    )
    assert one_cycle(64, 100) == pytest.approx((1 + 1 / 250_000) / 2)


@given(st.integers(2, 400), st.floats(0.05, 0.9))
def test_one_cycle_rises_then_falls_and_stays_between(steps, warm_up):
    rates = [one_cycle(step, steps, warm_up=warm_up) for step in range(steps)]
    top = int(np.argmax(rates))
    assert (np.diff(rates[: top + 1]) >= 0).all()
    assert (np.diff(rates[top:]) <= 0).all()
    assert 0 < min(rates) <= max(rates) <= 1


@given(st.floats(1e-3, 1), st.integers(1, 50))
def test_one_cycle_is_flat_where_both_ends_are_the_peak(warm_up, steps):
    assert {
        one_cycle(step, steps, warm_up=warm_up, start=1.0, end=1.0) for step in range(steps)
    } == {1.0}


@given(
    st.integers(1, 300),
    st.floats(0.001, 0.9),
    st.sampled_from(["exponential", "polynomial", "cosine"]),
)
def test_the_others_fall_from_one_to_their_end_and_stay(steps, end, name):
    shape = {"exponential": exponential, "polynomial": polynomial, "cosine": cosine}[name]
    rates = [shape(step, steps, end=end) for step in range(steps + 3)]
    assert rates[0] == pytest.approx(1)
    assert rates[steps:] == pytest.approx([end] * 3)
    assert (np.diff(rates) <= 1e-12).all()


class Rates(keras.callbacks.Callback):
    """Notes every step's rate."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(float(self.model.optimizer.learning_rate))


def compiled(rate):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_every_step_has_its_rate_whatever_fit_it_belongs_to():
    model = compiled(9.0)
    seen = Rates()
    shape = partial(one_cycle, steps=8)
    for _ in range(2):
        callbacks = [RateSchedule(0.5, shape), seen]
        history = model.fit(
            np.ones((8, 2)), np.ones(8), batch_size=2, verbose=0, callbacks=callbacks
        )
    assert seen.seen == pytest.approx([0.5 * one_cycle(step, 8) for step in range(8)])
    assert history.history["learning_rate"] == pytest.approx(seen.seen[-1:])


@pytest.mark.parametrize("rate", [0, -0.1, math.inf, math.nan])
def test_impossible_rates_are_refused(rate):
    with pytest.raises(ValueError, match="rate must be above 0, got"):
        RateSchedule(rate, lambda step: 1.0)


def test_an_optimizer_with_its_own_schedule_is_refused():
    model = compiled(keras.optimizers.schedules.CosineDecay(0.1, 10))
    with pytest.raises(
        ValueError, match=r"RateSchedule sets the learning rate, but 'sgd.*' has its own schedule"
    ):
        model.fit(
            np.ones((8, 2)), np.ones(8), verbose=0, callbacks=[RateSchedule(0.5, lambda step: 1.0)]
        )
