from types import SimpleNamespace

import keras
import numpy as np
import pytest

from callbacks import NanGuard, NonFiniteError

NAN, INF = float("nan"), float("inf")


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
    assert str(error).startswith(f"loss became {bad} at step 2 of epoch 3 (learning rate 0.2): lower the")
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


@pytest.mark.parametrize("logs", [{"loss": NAN}, {"loss": 1.0, "val_loss": INF}, {"val_accuracy": NAN}])
def test_looks_at_all_that_an_epoch_logs(logs):
    with pytest.raises(NonFiniteError):
        guard(check_every=1000).on_epoch_end(2, logs)


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
    callback, done = guard(), []
    callback.set_params({"on_failure": [lambda: done.append("first"), lambda: done.append("second")]})
    for _ in range(2):
        with pytest.raises(NonFiniteError):
            callback.on_train_batch_end(0, {"loss": NAN})
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
