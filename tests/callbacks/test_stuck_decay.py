"""Rates that fall when nothing gets better: streams of losses with a known answer."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from epochal.callbacks import PlateauDecay, RateSchedule, StuckDecay
from epochal.callbacks.parts.window_means import WindowMeans


def stream(callback, losses, epoch_steps=50):
    """Feeds losses as `fit` does, as running means of an epoch; returns each step's rate."""
    callback.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(1.0)))
    callback.on_train_begin()
    rates = []
    for epoch in range(math.ceil(len(losses) / epoch_steps)):
        part = losses[epoch * epoch_steps : (epoch + 1) * epoch_steps]
        callback.on_epoch_begin(epoch)
        for step in range(len(part)):
            callback.on_train_batch_begin(step)
            callback.on_train_batch_end(step, {"loss": np.float32(np.mean(part[: step + 1]))})
            rates.append(float(callback.model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, {"loss": float(np.mean(part))})
    return rates


NOISE = 0.3 * np.random.default_rng(4).normal(size=1000)


def test_a_noisy_fall_keeps_its_rate():
    assert set(stream(StuckDecay(100, patience=2), 5 * 0.998 ** np.arange(1000) + NOISE / 10)) == {
        1.0
    }


@pytest.mark.parametrize("epoch_steps", [37, 50, 1000])
def test_a_noisy_floor_lowers_it_once_after_patience(epoch_steps):
    # Window 1 has nothing before it; 2 to 4 are stuck; 5 cools; from then on the loss falls again.
    losses = np.concatenate([np.full(500, 2.0), 2 * 0.998 ** np.arange(500)]) + NOISE / 10
    rates = stream(StuckDecay(100, patience=3, cooldown=1, gain=0.05), losses, epoch_steps)
    assert rates == pytest.approx([1.0] * 399 + [0.1] * 601)
    without_end = stream(
        StuckDecay(100, patience=3, cooldown=1, gain=0.05), 2 + NOISE / 10, epoch_steps
    )
    assert min(without_end) == pytest.approx(
        0.01
    )  # which stays where it is stuck again: windows 6 to 8


@pytest.mark.parametrize("epoch_steps", [1000, 64, 7])
def test_windows_do_not_depend_on_where_epochs_end(epoch_steps):
    losses = 2 + NOISE
    windows = WindowMeans(["loss"])
    means = []
    for begin in range(0, len(losses), epoch_steps):
        epoch = losses[begin : begin + epoch_steps]
        for step in range(len(epoch)):
            logs = {"loss": np.mean(epoch[: step + 1])}
            windows.count_step(step, None, None)
            if windows.steps == 100:
                means.append(windows.read(logs, None)["loss"])
        windows.end_epoch(logs, None)
    assert means == pytest.approx(list(losses.reshape(10, 100).mean(axis=1)))


@pytest.mark.parametrize(("window", "ends"), [(4, [4, 8, 14, 18]), (6, [8, 14, 20])])
def test_a_window_counts_steps_not_executions(window, ends):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=4)
    windows = WindowMeans(["loss"])
    read_at = []

    class Reader(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            windows.count_step(batch, self.params, model)
            if windows.steps >= window:
                windows.read(logs, model)
                read_at.append(int(model.optimizer.iterations.numpy()))

        def on_epoch_end(self, epoch, logs=None):
            windows.end_epoch(logs, model)

    x = np.ones((20, 2), "float32")
    # 10 steps an epoch: 4, 4 and 2.
    model.fit(x, x[:, :1], batch_size=2, epochs=2, verbose=0, callbacks=[Reader()])
    assert read_at == ends


def test_it_never_falls_below_the_least():
    rates = stream(StuckDecay(10, patience=1, cooldown=0, least=0.05), np.ones(200))
    assert min(rates) == pytest.approx(0.05)


def test_a_rate_below_the_least_is_not_raised():
    assert set(stream(StuckDecay(10, patience=1, cooldown=0, least=2.0), np.ones(200))) == {1.0}
    assert set(epochs(PlateauDecay(patience=1, least=2.0), np.ones(9))) == {1.0}


def test_nothing_is_judged_before_the_warm_up_is_over():
    place = 0
    warm_up = RateSchedule(1.0, lambda step: 1.0, steps=1, position=lambda: place)
    stuck = StuckDecay(10, patience=1, after=warm_up)
    plateau = PlateauDecay(patience=1, after=warm_up)
    assert set(stream(stuck, np.ones(200))) == {1.0}
    assert set(epochs(plateau, np.ones(9))) == {1.0}
    place = 1
    assert min(stream(stuck, np.ones(200))) < 1
    assert min(epochs(plateau, np.ones(9))) < 1


def test_a_warm_up_is_over_by_the_count_of_the_optimizer():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    warm_up = RateSchedule(1.0, lambda step: 1.0, steps=3)
    warm_up.set_model(model)
    over = []
    for step in range(5):
        model.optimizer.iterations.assign(step)
        over.append(warm_up.is_over())
    assert over == [False, False, False, True, True]
    always = RateSchedule(1.0, lambda step: 1.0)
    always.set_model(model)
    assert not always.is_over()


def epochs(callback, values, begin=0, state=None, rate=1.0):
    """Feeds a monitored value an epoch; returns the rate that each epoch was trained with."""
    callback.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(rate)))
    callback.on_train_begin()
    if state is not None:
        callback.set_state(state)
    seen = []
    for epoch, value in enumerate(values, begin):
        logs = {"val_loss": value}
        callback.on_epoch_end(epoch, logs)
        seen.append(logs["learning_rate"])
    return seen


def test_a_plateau_lowers_the_rate_after_patience_and_then_cools():
    values = [3, 2, 2, 2, 2, 2, 2, 1, 1]
    found = epochs(PlateauDecay(patience=2, factor=0.5, cooldown=1), values)
    assert found == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_what_is_not_finite_is_no_improvement():
    assert epochs(
        PlateauDecay(patience=2, factor=0.5), [1, -math.inf, math.nan, 1]
    ) == pytest.approx([1, 1, 1, 0.5])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_like_keras_where_nothing_is_resumed():
    values = list(2 + np.sin(np.arange(40)) + np.linspace(1, 0, 40))
    stock = keras.callbacks.ReduceLROnPlateau(
        "val_loss", factor=0.5, patience=3, min_delta=0, verbose=0
    )
    assert epochs(PlateauDecay(patience=3, factor=0.5), values) == pytest.approx(
        epochs_of_keras(stock, values)
    )


def epochs_of_keras(callback, values):
    callback.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(1.0)))
    callback.on_train_begin()
    seen = []
    for epoch, value in enumerate(values):
        logs = {"val_loss": value}
        seen.append(float(callback.model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, logs)
    return seen


def test_a_resumed_run_goes_on_counting():
    values = [3, 2, 2, 2, 2, 2, 2, 1, 1]
    whole = epochs(PlateauDecay(patience=2, factor=0.5), values)
    for stop in range(1, len(values)):
        first = PlateauDecay(patience=2, factor=0.5)
        epochs(first, values[:stop])
        rate = float(first.model.optimizer.learning_rate)
        rest = epochs(
            PlateauDecay(patience=2, factor=0.5), values[stop:], stop, first.get_state(), rate
        )
        assert rest == pytest.approx(whole[stop:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlateauDecay(factor=1.5), "factor must be above 0 and below 1, got 1.5"),
        (lambda: PlateauDecay(patience=0), "patience must be at least 1"),
        (
            lambda: PlateauDecay("val_kappa"),
            "higher is better: name the metric so that one of loss, error,",
        ),
        (lambda: StuckDecay(factor=0.0), "factor must be above 0 and below 1, got 0.0"),
        (lambda: StuckDecay(0), "window and patience must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_metric_that_is_not_logged_is_named():
    callback = PlateauDecay("val_auc")
    callback.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(1.0)))
    callback.on_train_begin()
    with pytest.raises(
        ValueError, match=r"watches 'val_auc', which is not logged: choose one of \['val_loss'\]"
    ):
        callback.on_epoch_end(0, {"val_loss": 1.0})
