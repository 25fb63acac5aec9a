"""Frozen weights: which they are, that they stay as they are to the bit, and when they thaw."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal import models
from epochal.app.config import Optim
from epochal.app.process.log import RUN_LOG
from epochal.app.training.optimizers.per_weight import build_optimizer
from epochal.app.training.optimizers.sgd import SGD
from epochal.app.training.run.thawing import Thawing
from epochal.callbacks import ExponentialMovingAverage, Freezing, GradientClipping, Timing
from tests.support.toys import two_classes

X, Y = two_classes(24, 4)
BODY = "^(low|high)"
Weights = dict[str, np.ndarray]


def network(optimizer: Any = None) -> Any:
    """Two dense layers with batch norm below a third, always with the same weights."""
    keras.utils.set_random_seed(2)
    x = inputs = keras.Input((4,))
    for name in ("low", "high"):
        x = keras.layers.Dense(5, "tanh", name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="logits")(x), name="net")
    model.compile(
        optimizer or keras.optimizers.SGD(0.1, 0.9),
        keras.losses.SparseCategoricalCrossentropy(True),
    )
    return model


def fit(model: Any, *callbacks: Any, epochs: int = 1) -> None:
    model.fit(
        X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks)
    )


def values(model: Any) -> Weights:
    return {weight.path: weight.numpy() for weight in model.weights}


def moved(model: Any, before: Weights) -> set[str]:
    return {
        path for path, value in values(model).items() if value.tobytes() != before[path].tobytes()
    }


def flags(model: Any) -> list[bool]:
    return [member.trainable for member in (*model.layers, *model.weights)]


def trained_in(model: Any, freezing: Freezing, epoch: int) -> list[str]:
    freezing.on_epoch_begin(epoch)
    return [weight.path for weight in model.trainable_weights]


def begun(model: Any, freezing: Freezing) -> Freezing:
    freezing.set_params({})
    freezing.set_model(model)
    freezing.on_train_begin()
    return freezing


def test_a_frozen_body_stays_as_it_is_to_the_bit_statistics_included() -> None:
    model = network()
    before = values(model)
    trainable = flags(model)
    fit(model, Freezing(BODY), GradientClipping(1.0), epochs=2)
    assert moved(model, before) == {"logits/kernel", "logits/bias"}
    assert flags(model) == trainable
    fit(model)
    assert moved(model, before) == set(before)


def test_batch_norm_is_frozen_with_all_of_its_weights_and_not_with_some() -> None:
    model = network()
    before = values(model)
    fit(model, Freezing("low_bn/gamma"))
    assert moved(model, before) == set(before) - {"low_bn/gamma"}


def test_our_batch_norm_answers_from_its_statistics_while_frozen() -> None:
    model = models.build("resnet8", (8, 8, 1), 3)
    model.compile("sgd")
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1)).astype("uint8")
    expected = model(images, training=False).numpy()
    assert np.abs(model(images, training=True).numpy() - expected).max() > 0.01
    model = models.build("resnet8", (8, 8, 1), 3)
    model.compile("sgd")
    expected = model(images, training=False).numpy()
    begun(model, Freezing("^(stem|stage)")).on_epoch_begin(0)
    np.testing.assert_array_equal(model(images, training=True), expected)


def test_the_topmost_frozen_layer_thaws_first_and_its_batch_norm_with_it() -> None:
    model = network()
    freezing = begun(model, Freezing(BODY, every=2))
    logits = ["logits/kernel", "logits/bias"]
    high = ["high/kernel", "high/bias", "high_bn/gamma", "high_bn/beta"]
    low = [path.replace("high", "low") for path in high]
    expected = [
        logits,
        logits,
        [*high, *logits],
        [*high, *logits],
        [*low, *high, *logits],
        [*low, *high, *logits],
    ]
    assert [trained_in(model, freezing, epoch) for epoch in range(6)] == expected
    assert trained_in(model, freezing, 2) == [*high, *logits]  # as a resumed training asks
    freezing.on_train_end()
    assert all(flags(model)[: len(model.layers)])


def test_a_layer_of_several_kernels_thaws_at_once() -> None:
    model = models.build("lstm", (8, 8, 1), 3)
    model.compile("sgd")
    freezing = begun(model, Freezing("lstm", every=1))
    assert [len(trained_in(model, freezing, epoch)) for epoch in range(2)] == [2, 5]


def test_weights_thaw_in_the_middle_of_training_with_momenta_that_begin_at_nothing() -> None:
    model = network()
    before = values(model)
    fit(model, Freezing(BODY, every=1), GradientClipping(1.0))
    momenta = {variable.path: variable.numpy() for variable in model.optimizer.variables[2:]}
    assert {path for path, value in momenta.items() if value.any()} == {
        path for path in momenta if "logits" in path
    }
    model = network()
    fit(model, Freezing(BODY, every=1), GradientClipping(1.0), epochs=2)
    assert moved(model, before) == {path for path in before if not path.startswith("low")}
    assert len(model.optimizer.variables) == len(momenta) + 2


def test_smaller_rates_below_go_on_under_frozen_layers() -> None:
    steps = {}
    for growth in (1.0, 0.5):
        model = network()
        options = {"learning_rate": 2.0**-4}
        optimizer = build_optimizer(SGD, options, model, Optim(rate_growth=growth))
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(True))
        before = values(model)
        model.fit(X, Y, batch_size=24, verbose=0, callbacks=[Freezing("^low")])
        steps[growth] = {path: value - before[path] for path, value in values(model).items()}
    for path, depth in (("logits/kernel", 0), ("high_bn/gamma", 1), ("high/kernel", 1)):
        np.testing.assert_allclose(steps[0.5][path], steps[1.0][path] * 0.5**depth, atol=1e-7)
        assert np.abs(steps[1.0][path]).max() > 1e-4
    assert not steps[0.5]["low/kernel"].any()


def test_an_exception_of_another_callback_leaves_everything_trainable() -> None:
    model = network()
    trainable = flags(model)
    freezing = Freezing(BODY)
    freezing.set_params({})
    freezing.set_model(model)
    freezing.on_train_begin()
    freezing.on_epoch_begin(0)
    assert flags(model) != trainable
    freezing.params["on_failure"].pop()()
    assert flags(model) == trainable


def interrupted(model: Any, *callbacks: Any, epochs: int = 1) -> None:
    """A fit that ends by Ctrl-C after its second step."""

    def ctrl_c(batch: int, logs: Any) -> None:
        if batch:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            *callbacks,
            keras.callbacks.LambdaCallback(on_train_batch_end=ctrl_c),
            epochs=epochs,
        )


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("anew", [False, True])
def test_an_interrupted_fit_freezes_no_later_one(tmp_path: Path, order: int, anew: bool) -> None:
    model = network()
    before = values(model)
    trainable = flags(model)
    watching = [
        Timing(tmp_path / "timing.json"),
        Freezing(BODY),
        GradientClipping(1e-9),
        ExponentialMovingAverage(),
    ]
    interrupted(model, *watching[::order])
    assert flags(model) != trainable
    if anew:
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(True))
    fit(model)
    assert moved(model, before) == set(before)
    assert (
        np.abs(values(model)["low/kernel"] - before["low/kernel"]).max() > 1e-4
    )  # nor is it clipped any more
    assert flags(model) == trainable
    assert not {"make_train_function", "_make_function", "evaluate"} & set(vars(model))


def test_an_interrupted_fit_can_be_begun_again_and_freezes_as_before() -> None:
    model = network()
    before = values(model)
    freezing = Freezing(BODY)
    interrupted(model, freezing)
    fit(model, freezing, GradientClipping(1.0))
    assert moved(model, before) == {"logits/kernel", "logits/bias"}
    assert all(flags(model)[: len(model.layers)])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("stem", "'stem' finds none of the weights of net, .* low/kernel"), ("", "every weight")],
)
def test_there_must_be_something_to_freeze_and_something_to_train(
    pattern: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fit(network(), Freezing(pattern))


def test_no_layer_thaws_in_no_time() -> None:
    with pytest.raises(ValueError, match="at least 1 epoch, got 0"):
        Freezing("low", every=0)


def test_what_is_frozen_and_when_it_thaws_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    optim = Optim(frozen=BODY, unfreeze_every=2)
    # Whether the root logger is handed the lines depends on tests before this one.
    monkeypatch.setattr(RUN_LOG, "propagate", False)
    RUN_LOG.addHandler(caplog.handler)
    caplog.set_level("INFO", RUN_LOG.name)
    try:
        for first in (0, 3, 4):
            watching = [Freezing(BODY, every=2), Thawing(optim)]
            network().fit(X, Y, verbose=0, callbacks=watching, initial_epoch=first, epochs=5)
    finally:
        RUN_LOG.removeHandler(caplog.handler)
    assert caplog.messages == [
        "frozen: low, low_bn, high, high_bn (95 of 107 weights)",
        "epoch 3: trained from now on: high, high_bn (50 weights)",
        "epoch 5: trained from now on: low, low_bn (45 weights)",
        "frozen: low, low_bn (45 of 107 weights)",
        "epoch 5: trained from now on: low, low_bn (45 weights)",
    ]
