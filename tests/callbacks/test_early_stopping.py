import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from epochal.callbacks import BestWeights, EarlyStopping, NanGuard, NonFiniteError, PlateauDecay

NAN = float("nan")


class Weights(SimpleNamespace):
    """Looks like a model to callbacks; its one weight is the number of the epoch."""

    def __init__(self):
        super().__init__(
            stop_training=False, value=np.zeros(2), optimizer=SimpleNamespace(learning_rate=0.1)
        )

    def get_weights(self):
        return [self.value]

    def set_weights(self, weights):
        self.value = np.array(weights[0])


def drive(callback, values, *, end=True, weight=float):
    """Runs the hooks over logged `values`; returns the model and the number of epochs run."""
    model = Weights()
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        model.value = np.full(2, weight(epoch))
        callback.on_epoch_end(epoch, {callback.monitor: value, "loss": 1.0})
        if model.stop_training:
            break
    if end:
        callback.on_train_end()
    return model, epoch + 1


def test_restores_the_best_epoch_after_the_last():
    callback = EarlyStopping()
    model, epochs = drive(callback, [3.0, 1.0, 2.0, 2.5])
    assert (epochs, callback.best, callback.best_epoch, callback.stopped_epoch) == (4, 1.0, 1, None)
    assert callback.reason is None
    np.testing.assert_array_equal(model.value, [1.0, 1.0])


def test_stops_after_patience_and_restores():
    callback = EarlyStopping(patience=2)
    model, epochs = drive(callback, [3.0, 1.0, 2.0, 2.5, 0.1])
    assert (epochs, callback.best_epoch, callback.stopped_epoch) == (4, 1, 3)
    assert callback.reason == "val_loss did not improve for 2 epoch(s) (best 1 in epoch 2)"
    np.testing.assert_array_equal(model.value, [1.0, 1.0])


@pytest.mark.parametrize(("patience", "epochs"), [(0, 2), (1, 2), (2, 3), (9, 4)])
def test_patience_counts_epochs_without_improvement(patience, epochs):
    assert drive(EarlyStopping(patience=patience), [1.0, 1.0, 1.0, 1.0])[1] == epochs


def test_higher_accuracy_is_better():
    callback = EarlyStopping("val_accuracy")
    model, _ = drive(callback, [0.5, 0.9, 0.7])
    assert (callback.best, model.value[0]) == (0.9, 1.0)


def test_min_delta_has_to_be_exceeded():
    callback = EarlyStopping(min_delta=0.5)
    drive(callback, [2.0, 1.6, 1.4])
    assert (callback.best, callback.best_epoch) == (1.4, 2)


def test_without_a_least_improvement_the_last_finite_epoch_is_kept():
    callback = EarlyStopping(min_delta=-math.inf)
    model, _ = drive(callback, [1.0, 3.0, 2.0, NAN])
    assert (callback.best, callback.best_epoch, model.value[0]) == (2.0, 2, 2.0)


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_never_the_best(bad):
    callback = EarlyStopping(patience=9)
    model, _ = drive(callback, [bad, 0.5, 0.4, bad, 0.3, bad])
    assert (callback.best, callback.best_epoch, callback.wait, model.value[0]) == (0.3, 4, 1, 4.0)


def test_an_epoch_of_nan_counts_as_no_improvement():
    assert drive(EarlyStopping(patience=2), [NAN, NAN, 0.5])[1] == 2


def test_finite_accuracy_of_nan_weights_is_not_the_best():
    callback = EarlyStopping("val_accuracy")
    model, _ = drive(callback, [0.5, 0.9], weight=lambda epoch: [1.0, NAN][epoch])
    assert (callback.best, model.value[0]) == (0.5, 1.0)


def test_finite_accuracy_beside_a_nan_loss_is_not_the_best():
    callback = EarlyStopping("accuracy")
    callback.set_model(Weights())
    callback.on_train_begin()
    callback.on_epoch_end(0, {"accuracy": 0.9, "loss": NAN})
    assert callback.best is None


def test_leaves_the_weights_alone_if_no_epoch_was_good():
    callback = EarlyStopping()
    model, _ = drive(callback, [NAN, NAN])
    assert not callback.restore_best()
    assert model.value[0] == 1.0


def test_keeps_a_copy_not_the_array_itself():
    callback = EarlyStopping()
    model, _ = drive(callback, [1.0], end=False)
    model.value += 7
    assert callback.restore_best()
    np.testing.assert_array_equal(model.value, [0.0, 0.0])


def test_says_what_is_logged_when_the_monitor_is_not():
    callback = EarlyStopping()
    callback.set_model(Weights())
    with pytest.raises(
        ValueError,
        match=r"'val_loss', which is not logged: choose one of \['loss', 'val_accuracy'\]",
    ):
        callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})


def watchers(folder):
    return [
        EarlyStopping(patience=1),
        PlateauDecay(patience=1, factor=0.5),
        BestWeights(folder, top=9),
    ]


def test_epochs_without_validation_are_passed_over(model, tmp_path):
    early, plateau, best = watching = watchers(tmp_path)
    fit(model, *watching, epochs=8, validation_freq=2)
    assert [entry["epoch"] for entry in best.kept] == [8, 6, 4, 2]
    assert (early.best_epoch, early.stopped_epoch) == (7, None)
    assert plateau.get_state()["wait"] == 0
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("place", range(3))
def test_training_that_never_had_validation_is_refused_at_its_end(model, tmp_path, place):
    callback = watchers(tmp_path)[place]
    with pytest.raises(
        ValueError, match=rf"{type(callback).__name__} watches 'val_loss', .* validation_data"
    ):
        fit(model, callback, validation_freq=9)


def test_a_resumed_run_may_end_without_validation(model):
    early = EarlyStopping()
    again = EarlyStopping()
    fit(model, early)
    restore = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: again.set_state(early.get_state())
    )
    fit(model, again, restore, epochs=5, initial_epoch=4, validation_freq=2)
    assert again.best == early.best


@pytest.mark.parametrize(
    "arguments",
    [{"patience": -1}, {"min_delta": -0.1}, {"min_delta": NAN}, {"min_delta": math.inf}],
)
def test_refuses_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=r"at least 0.*got"):
        EarlyStopping(**arguments)


class At(keras.callbacks.Callback):
    """Does something to the model when the given epoch begins."""

    def __init__(self, epoch, action):
        super().__init__()
        self.epoch = epoch
        self.action = action

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action(self.model)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    return model


def fit(model, *callbacks, **options):
    model.optimizer.learning_rate = 0.01
    model.set_weights([np.ones((2, 1)), np.zeros(1)])
    x = np.eye(2, dtype="float32")
    options = {"epochs": 4, "verbose": 0, "validation_data": (x, x[:, :1]), **options}
    model.fit(x, x[:, :1], callbacks=list(callbacks), **options)


def explode(model):
    model.optimizer.learning_rate = 1e38


@pytest.mark.parametrize("order", [1, -1])
def test_best_weights_are_back_when_nan_guard_raises(order, model):
    early = EarlyStopping()
    with pytest.raises(NonFiniteError):
        fit(model, At(2, explode), *[early, NanGuard()][::order])
    assert early.best_epoch == 1
    for kept, weight in zip(early.best_weights, model.get_weights(), strict=True):
        assert np.isfinite(weight).all()
        np.testing.assert_array_equal(kept, weight)


def test_best_weights_are_back_when_another_callback_stops(model):
    early = EarlyStopping()

    def spoil(model):
        model.set_weights([np.full((2, 1), 50.0), np.zeros(1)])
        model.stop_training = True

    fit(model, At(2, spoil), early)
    assert early.best_epoch == 1
    np.testing.assert_array_equal(model.get_weights()[0], early.best_weights[0])


def test_restore_best_serves_after_any_other_exception(model):
    early = EarlyStopping()

    def interrupt(model):
        model.set_weights([np.full((2, 1), np.nan), np.zeros(1)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, early, At(2, interrupt))
    assert early.restore_best()
    np.testing.assert_array_equal(model.get_weights()[0], early.best_weights[0])
