from types import SimpleNamespace

import keras
import numpy as np
import pytest

from epochal.callbacks import ExponentialMovingAverage, NanGuard, NonFiniteError

NAN = float("nan")
INF = float("inf")


def guard(check_every=1, **model):
    callback = NanGuard(check_every)
    callback.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.2), **model))
    callback.on_train_begin()
    callback.on_epoch_begin(2)
    return callback


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_names_step_epoch_rate_and_remedy_in_one_line(bad):
    callback = guard()
    callback.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(NonFiniteError) as caught:
        callback.on_train_batch_end(1, {"loss": bad})
    error = caught.value
    assert str(error).startswith(
        f"loss became {bad} at step 2 of epoch 3 (learning rate 0.2): lower the"
    )
    assert "0.02" in str(error)
    assert "\n" not in str(error)
    assert (error.quantity, error.epoch, error.step, error.learning_rate) == ("loss", 2, 1, 0.2)
    assert isinstance(error, FloatingPointError)


def test_looks_every_so_many_steps_only():
    callback = guard(check_every=3)
    callback.on_train_batch_end(0, {"loss": NAN})
    callback.on_train_batch_end(1, {"loss": NAN})
    with pytest.raises(NonFiniteError):
        callback.on_train_batch_end(2, {"loss": NAN})


@pytest.mark.parametrize(
    "logs", [{"loss": NAN}, {"loss": 1.0, "val_loss": INF}, {"val_accuracy": NAN}]
)
def test_looks_at_all_that_an_epoch_logs(logs):
    with pytest.raises(NonFiniteError):
        guard(check_every=1000).on_epoch_end(2, logs)


def test_metrics_of_several_values_are_looked_at_each():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    model.compile("sgd", "mse", metrics=[keras.metrics.F1Score(average=None)])
    x = np.eye(2, dtype="float32")
    model.fit(x, x, verbose=0, validation_data=(x, x), callbacks=[NanGuard()])
    guard().on_epoch_end(2, {"f1": np.array([0.5, INF])})
    with pytest.raises(NonFiniteError, match="f1 became nan at"):
        guard().on_epoch_end(2, {"f1": np.array([0.5, NAN])})


def test_infinite_metrics_that_are_no_loss_pass():
    guard().on_epoch_end(2, {"loss": 1.0, "perplexity": INF, "gradient_norm": INF})


def test_models_that_log_no_loss_pass():
    guard().on_train_batch_end(0, {"accuracy": 0.5})


def test_finds_the_weight_that_the_last_update_spoilt():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="head")])
    guard(weights=model.weights).on_epoch_end(2, {"loss": 1.0})
    model.set_weights([np.array([[1.0], [NAN]]), np.zeros(1)])
    with pytest.raises(NonFiniteError, match=r"weight .*head/kernel became not finite"):
        guard(weights=model.weights).on_epoch_end(2, {"loss": 1.0})


def test_other_callbacks_clean_up_once_and_latest_first():
    callback = guard()
    done = []
    callback.set_params(
        {"on_failure": [lambda: done.append("first"), lambda: done.append("second")]}
    )
    for batch in range(2):
        with pytest.raises(NonFiniteError):
            callback.on_train_batch_end(batch, {"loss": NAN})
    assert done == ["second", "first"]


def test_refuses_never_to_look():
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        NanGuard(0)


def test_a_real_fit_ends_with_the_error():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 2), "float32")
    x[5] = NAN
    with pytest.raises(NonFiniteError, match="at step 3 of epoch 1 "):
        model.fit(x, x[:, :1], batch_size=2, shuffle=False, verbose=0, callbacks=[NanGuard()])


def kept_by(model, x, y, **options):
    """The error of a real fit that ends with one."""
    with pytest.raises(NonFiniteError) as caught:
        model.fit(
            x,
            y,
            batch_size=2,
            shuffle=False,
            verbose=0,
            callbacks=[NanGuard(keep_state=True)],
            **options,
        )
    return caught.value


@pytest.fixture
def regression():
    """A model with dropout, whose random state is an integer, and normalisation; and its data."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model, np.random.default_rng(0).normal(size=(8, 2)).astype("float32")


def values(model):
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable.numpy() for variable in model.variables if id(variable) not in metrics]


def test_keeps_the_state_before_the_step_that_went_wrong(regression):
    model, x = regression
    x[5], before = NAN, []
    copies = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: before.append(values(model))
    )
    with pytest.raises(NonFiniteError) as caught:
        model.fit(
            x,
            x[:, :1],
            batch_size=2,
            shuffle=False,
            verbose=0,
            callbacks=[copies, NanGuard(keep_state=True)],
        )
    kept = caught.value.kept
    assert (kept.epoch, kept.step, kept.learning_rate) == (0, 2, pytest.approx(0.1))
    assert [value.dtype for value in kept.values] == [value.dtype for value in before[2]]
    for left, right in zip(kept.values, before[2], strict=True):
        np.testing.assert_array_equal(left, right)
    assert "gamma" in {path.rsplit("/", 1)[-1] for path in caught.value.spoilt}


def test_an_update_that_went_wrong_is_told_from_the_step_that_shows_it(regression):
    model, x = regression
    model.optimizer.learning_rate, first = 3e38, values(model)
    error = kept_by(model, 1e4 * x, 1e9 * x[:, :1])
    assert (error.quantity, error.step, error.kept.step) == ("loss", 1, 0)
    for left, right in zip(error.kept.values, first, strict=True):
        np.testing.assert_array_equal(left, right)


def test_validation_that_went_wrong_comes_after_the_last_step(regression):
    model, x = regression
    error = kept_by(model, x, x[:, :1], validation_data=(x * NAN, x[:, :1]))
    assert (error.quantity, error.kept.step, error.spoilt) == ("val_loss", 4, [])
    for left, right in zip(error.kept.values, values(model), strict=True):
        np.testing.assert_array_equal(left, right)


def test_validation_of_averages_keeps_the_averages(regression):
    model, x = regression
    average = ExponentialMovingAverage(0.9)
    tested = []
    copies = keras.callbacks.LambdaCallback(on_test_begin=lambda logs: tested.append(values(model)))
    watching = [average, copies, NanGuard(keep_state=True)]
    bad = (x * NAN, x[:, :1])
    with pytest.raises(NonFiniteError) as caught:
        model.fit(x, x[:, :1], batch_size=2, verbose=0, validation_data=bad, callbacks=watching)
    assert caught.value.kept.step == 4
    for left, right in zip(caught.value.kept.values, tested[0], strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(tested[0][0], values(model)[0])


def test_keeps_nothing_unless_asked_to(regression):
    model, x = regression
    with pytest.raises(NonFiniteError) as caught:
        model.fit(x * NAN, x[:, :1], verbose=0, callbacks=[NanGuard()])
    assert caught.value.kept is None
