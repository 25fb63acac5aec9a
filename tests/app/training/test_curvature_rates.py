"""The curvature of each weight, estimated before an epoch, and what the optimizer makes of it."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Config, Optim
from epochal.app.errors import UsageError
from epochal.app.training.optimizers import chosen_optimizer
from epochal.app.training.run.callback_list import weight_steering
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.train import train

CONFIG = Config(
    model="softmax",
    optimizer="diagonalnewton",
    learning_rate=0.1,
    epochs=2,
    optim=Optim(options={}, weight_decay=0.3),
)


@pytest.fixture(scope="module")
def setup() -> Setup:
    return set_up(CONFIG)


def curvatures(setup: Setup) -> list[np.ndarray]:
    return [variable.numpy() for variable in setup.model.optimizer._curvatures]


def exact(setup: Setup, images: tf.Tensor, decay: float) -> list[np.ndarray]:
    """Return those of softmax regression: means of x^2 p (1 - p), plus decay, and p (1 - p)."""
    net = setup.model
    logits = net(images).numpy()
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    x = net.layers[-2].output
    inputs = keras.Model(net.input, x)(images).numpy()
    spread = p * (1 - p)
    return [np.square(inputs).T @ spread / len(p) + decay, spread.mean(0)]


def test_estimates_what_a_step_minimises_and_leaves_the_rest_alone(setup: Setup) -> None:
    """Against the closed form of softmax regression: the mean over epochs, whose signs differ."""
    (rates,) = weight_steering(setup)
    rates.set_model(setup.model)
    before = [variable.numpy() for variable in setup.model.variables]
    estimates = []
    for epoch in range(60):
        rates.measure(epoch)
        estimates.append(curvatures(setup))
    for variable, value in zip(setup.model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    expected = exact(setup, tf.concat([images for images, _ in rates._batches], 0), decay=0.3)
    for of_weight, value in zip(zip(*estimates, strict=True), expected, strict=True):
        error = np.std(of_weight, axis=0) / np.sqrt(len(of_weight)) + 1e-6
        off = np.abs(np.mean(of_weight, axis=0) - value) / error
        assert off.max() < 5
        assert off.mean() < 1.2  # 0.8 of a normal error


def test_an_epoch_that_was_begun_before_a_stop_keeps_its_curvatures(setup: Setup) -> None:
    (rates,) = weight_steering(setup)
    rates.set_model(setup.model)
    rates.on_epoch_begin(0)
    before = curvatures(setup)
    setup.batches.position.set(1, 3)
    rates.on_epoch_begin(1)
    np.testing.assert_array_equal(before[0], curvatures(setup)[0])
    setup.batches.position.set(1)
    rates.on_epoch_begin(1)
    assert (before[0] != curvatures(setup)[0]).any()


def test_the_signs_follow_from_the_seed(setup: Setup) -> None:
    measured = []
    for seed in (1, 2, 1):
        config = replace(setup.config, seed=seed)
        (rates,) = weight_steering(replace(setup, config=config))
        rates.set_model(setup.model)
        rates.measure(0)
        measured.append(curvatures(setup)[0])
    assert (measured[0] != measured[1]).any()
    np.testing.assert_array_equal(measured[0], measured[2])


def test_a_run_learns_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(CONFIG).result().test.accuracy > 0.7


def test_float16_is_refused() -> None:
    config = Config(optimizer="diagonalnewton", optim=Optim(options={}), precision="mixed_float16")
    with pytest.raises(UsageError, match="take mixed_bfloat16 or float32"):
        chosen_optimizer(config)
