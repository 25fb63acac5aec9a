"""Weight decay, L1 and factors on the rate of single weights, against what they mean."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal import models
from epochal.app.config import Config, Optim
from epochal.app.data.load import load
from epochal.app.doctor.learning import measure_accuracy
from epochal.app.doctor.sample_images import read_images
from epochal.app.errors import UsageError
from epochal.app.store.run import Run
from epochal.app.training.optimizers.adam import Adam
from epochal.app.training.optimizers.penalties import WeightPenalty, decayed, soft_threshold
from epochal.app.training.optimizers.per_weight import (
    build_optimizer,
    is_decoupled,
    rate_factors,
)
from epochal.app.training.optimizers.sgd import SGD
from epochal.app.training.run.epoch_log import Energy
from epochal.app.training.run.history import History
from epochal.app.training.run.setup import set_up
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.objective import Objective

RATE = 2.0**-4
INPUTS = np.random.default_rng(0).normal(size=(6, 5))
Weights = dict[str, np.ndarray]


def small() -> Any:
    """Three layers in float64, always with the same weights; the topmost has no bias."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((5,), dtype="float64")
    for name, units, bias in (("low", 4, True), ("middle", 3, True), ("top", 2, False)):
        dense = keras.layers.Dense(
            units, "tanh", use_bias=bias, bias_initializer="ones", name=name, dtype="float64"
        )
        x = dense(x)
    return keras.Model(inputs, x)


def values(model: Any) -> Weights:
    return {weight.path: weight.numpy() for weight in model.weights}


def train(
    optimizer_class: Any, optim: Optim, *, steps: int = 1, data: float = 1.0, **options: Any
) -> tuple[Weights, Weights]:
    """Return weights before and after steps on `data` times the mean output, and the penalties."""
    model = small()
    options = {"learning_rate": RATE, **options}
    optimizer = build_optimizer(optimizer_class, options, model, optim)
    decay = 0.0 if is_decoupled(optimizer_class, optim) else optim.weight_decay
    penalty = WeightPenalty(decay=decay, l1=optim.l1, pattern=optim.decays)
    before = values(model)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            loss = data * tf.reduce_mean(model(INPUTS))
            loss += sum(penalty.values(model.trainable_weights))
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_weights)
    return before, values(model)


def test_kernels_decay_and_nothing_else() -> None:
    for name in ("resnet8", "mobilenet_v2_cifar", "lenet5"):
        model = models.build(name, models.ZOO[name].input_shape, 10)
        chosen = {weight.path for weight in decayed(model)}
        assert chosen == {
            weight.path for weight in model.trainable_weights if len(weight.shape) > 1
        }


def test_coupled_decay_joins_the_gradient() -> None:
    before, without = train(SGD, Optim(weight_decay=0.0))
    _, after = train(SGD, Optim(weight_decay=0.5, l1=0.25))
    for path, weight in before.items():
        pull = RATE * (0.5 * weight + 0.25 * np.sign(weight)) if path.endswith("kernel") else 0.0
        np.testing.assert_allclose(after[path], without[path] - pull, atol=1e-7)


@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_without_a_gradient_weights_shrink_geometrically(decay: str) -> None:
    before, after = train(SGD, Optim(weight_decay=0.5, decay=decay), steps=3, data=0.0)
    for path, weight in before.items():
        share = (1 - RATE * 0.5) ** 3 if path.endswith("kernel") else 1.0
        np.testing.assert_allclose(after[path], weight * share, atol=1e-7)


def test_decoupled_decay_stays_out_of_the_momentum() -> None:
    before, decoupled = train(
        SGD, Optim(weight_decay=0.5, decay="decoupled"), steps=3, data=0.0, momentum=0.9
    )
    _, coupled = train(SGD, Optim(weight_decay=0.5), steps=3, data=0.0, momentum=0.9)
    kernel = "low/kernel"
    np.testing.assert_allclose(decoupled[kernel], before[kernel] * (1 - RATE * 0.5) ** 3, atol=1e-7)
    assert np.abs(coupled[kernel] - decoupled[kernel]).max() > 0.01


def test_decoupled_decay_under_adam_is_adamw() -> None:
    before, without = train(Adam, Optim(weight_decay=0.0))
    _, after = train(Adam, Optim(weight_decay=0.5, decay="decoupled"))
    kernel = "top/kernel"
    np.testing.assert_allclose(
        after[kernel], without[kernel] - RATE * 0.5 * before[kernel], atol=1e-6
    )


def test_an_optimizer_with_its_own_decay_takes_the_configured_rate() -> None:
    before, without = train(keras.optimizers.AdamW, Optim(weight_decay=0.0))
    _, after = train(keras.optimizers.AdamW, Optim(weight_decay=0.5))
    for path, weight in before.items():
        lost = RATE * 0.5 * weight if path.endswith("kernel") else 0.0
        np.testing.assert_allclose(after[path], without[path] - lost, atol=1e-7)
    _, adam = train(keras.optimizers.Adam, Optim(weight_decay=0.0))
    np.testing.assert_array_equal(without["low/kernel"], adam["low/kernel"])


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_every_decay_of_muon_is_the_configured_one(rate: float) -> None:
    model = models.build("lenet5", (28, 28, 1), 10)
    options = {"learning_rate": RATE}
    optimizer = build_optimizer(keras.optimizers.Muon, options, model, Optim(weight_decay=rate))
    before = values(model)
    optimizer.apply(
        [tf.zeros(weight.shape) for weight in model.trainable_weights], model.trainable_weights
    )
    for path, weight in values(model).items():
        left = 1 - RATE * rate if path.endswith("kernel") else 1.0
        np.testing.assert_allclose(weight, before[path] * left, atol=1e-7)


def test_a_run_that_was_begun_with_a_decay_its_optimizer_has_not_goes_on(tmp_path: Path) -> None:
    config = Config(model="softmax", optimizer="adamw", optim=Optim(decay="coupled"))
    with pytest.raises(
        UsageError, match="expected decoupled, which adamw comes with, or null, got 'coupled'"
    ):
        set_up(config)
    run = Run(tmp_path)
    run.write_data_card(load(config).card(test=True))
    assert not set_up(config, run).model.losses


def test_a_model_of_biases_alone_has_nothing_to_lose() -> None:
    model = penalized(WeightPenalty(decay=0.5, l1=0.5))
    for layer in model.layers:
        if layer.weights:
            layer.kernel.trainable = False
    assert not model.losses


def penalized(penalty: WeightPenalty) -> Classifier:
    """Return a classifier of the small network with this penalty."""
    return Classifier(small(), objective=Objective(penalty=penalty))


def test_energy_is_the_loss_with_the_penalties() -> None:
    model = penalized(WeightPenalty(decay=0.5, l1=0.25))
    logs = {"loss": 1.0}
    energy = Energy()
    energy.set_model(model)
    energy.on_epoch_end(0, logs)
    kernels = [weight.numpy() for weight in model.trainable_weights if weight.name == "kernel"]
    expected = sum(0.25 * (kernel**2).sum() + 0.25 * np.abs(kernel).sum() for kernel in kernels)
    assert logs["energy"] - 1 == pytest.approx(expected, rel=1e-5)
    bare = {"loss": 1.0}
    energy.set_model(penalized(WeightPenalty()))
    energy.on_epoch_end(0, bare)
    assert "energy" not in bare


def test_the_history_has_an_energy_from_when_the_first_decayed_weight_thaws(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    history = History(path, images_per_step=1)
    for epoch, logs in enumerate([{"loss": 2.0}, {"loss": 1.0, "energy": 1.5}]):
        history.on_epoch_end(epoch, logs)
    assert [row["energy"] for row in csv.DictReader(path.read_text().splitlines())] == ["", "1.5"]


@pytest.mark.slow
def test_l1_has_more_weights_near_zero_than_l2_at_equal_accuracy() -> None:
    """With LeNet-300-100 on the digits."""
    near = {}
    accuracy = {}
    for name, optim in {
        "l1": Optim(weight_decay=0.0, l1=3e-4),
        "l2": Optim(weight_decay=3e-3),
    }.items():
        setup = set_up(Config(model="lenet300", epochs=20, learning_rate=0.05, optim=optim))
        images, labels = read_images(setup, setup.dataset.train)
        setup.model.fit(images, labels, batch_size=64, epochs=20, verbose=0)
        kernels = np.concatenate([w.numpy().ravel() for w in decayed(setup.model)])
        near[name] = (np.abs(kernels) < 1e-3).mean()
        accuracy[name] = measure_accuracy(
            setup.model, *read_images(setup, setup.dataset.validation)
        )
    print(near, accuracy)
    assert near["l1"] > 3 * near["l2"]
    assert accuracy["l1"] == pytest.approx(accuracy["l2"], abs=0.02)


def test_the_soft_threshold_makes_exact_zeros() -> None:
    weight = tf.constant([-1.0, -0.2, 0.0, 0.2, 1.0], tf.float64)
    np.testing.assert_allclose(soft_threshold(weight, 0.25), [-0.75, 0, 0, 0, 0.75])


LASSO_SOLVERS = {
    "plain": {"learning_rate": 0.5},
    "heavy ball": {"learning_rate": 0.05, "momentum": 0.9},
    "velocity, Nesterov": {
        "learning_rate": 0.05,
        "momentum": 0.9,
        "nesterov": True,
        "form": "velocity",
    },
    "averaging": {"learning_rate": 0.5, "momentum": 0.9, "form": "averaging"},
}


@pytest.mark.parametrize("solver", LASSO_SOLVERS)
def test_proximal_l1_finds_the_lassos_answer(solver: str) -> None:
    target = np.array([[2.0, 0.3, -0.1, -1.0]])
    net = keras.Sequential(
        [keras.Input((1,), dtype="float64"), keras.layers.Dense(4, use_bias=False, dtype="float64")]
    )
    optim = Optim(weight_decay=0.0, l1=0.5, l1_proximal=True)
    optimizer = build_optimizer(SGD, LASSO_SOLVERS[solver], net, optim)
    (weight,) = net.weights
    for _ in range(400):
        optimizer.apply([tf.constant(weight.numpy() - target)], [weight])
    np.testing.assert_allclose(weight.numpy(), [[1.5, 0.0, 0.0, -0.5]], atol=1e-6)
    assert np.count_nonzero(weight.numpy()) == 2


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_factor_multiplies_the_update(kind: Any) -> None:
    before, plain = train(kind, Optim(weight_decay=0.0))
    _, after = train(kind, Optim(weight_decay=0.0, rates={"^middle/": 2.0}))
    for path, weight in before.items():
        factor = 2.0 if path.startswith("middle") else 1.0
        np.testing.assert_allclose(after[path] - weight, factor * (plain[path] - weight), atol=1e-7)


@pytest.mark.parametrize("kind", [SGD, keras.optimizers.AdamW])
def test_a_factor_multiplies_decoupled_decay(kind: Any) -> None:
    decoupled = Optim(weight_decay=0.5, decay="decoupled")
    before, plain = train(kind, decoupled)
    _, after = train(kind, replace(decoupled, rates={"^middle/": 2.0, "^low/": 0.0}))
    for path, weight in before.items():
        factor = {"middle": 2.0, "low": 0.0}.get(path.partition("/")[0], 1.0)
        tolerance = 2e-6 + factor * RATE**2  # decay and update do not quite add
        np.testing.assert_allclose(
            after[path] - weight, factor * (plain[path] - weight), atol=tolerance
        )


def test_factors_grow_from_the_top() -> None:
    model = small()
    factors = rate_factors(model, Optim(rate_growth=2.0, rates={"bias": 0.5}))
    named = dict(zip([weight.path for weight in model.trainable_weights], factors, strict=True))
    expected = {
        "low/kernel": 4.0,
        "low/bias": 2.0,
        "middle/kernel": 2.0,
        "middle/bias": 1.0,
        "top/kernel": 1.0,
    }
    assert named == expected


def test_branches_side_by_side_and_what_normalises_share_a_factor() -> None:
    x = inputs = keras.Input((4, 4, 3))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(2, 1, name="stem")(x))
    left = keras.layers.Conv2D(2, 1, name="left_2")(keras.layers.Conv2D(2, 1, name="left_1")(x))
    right = keras.layers.Conv2D(2, 1, name="right")(x)
    model = keras.Model(inputs, keras.layers.Add()([left, right]))
    factors = rate_factors(model, Optim(rate_growth=0.5))
    layers = [weight.path.split("/")[0] for weight in model.trainable_weights]
    assert dict(zip(layers, factors, strict=True)) == {
        "stem": 0.25,
        "norm": 0.25,
        "left_1": 0.5,
        "left_2": 1.0,
        "right": 1.0,
    }


@pytest.mark.parametrize(
    "optim", [Optim(rates={"^convolution": 2.0}), Optim(decays="gamma$")], ids=["rates", "decays"]
)
def test_a_pattern_without_a_match_is_refused(optim: Optim) -> None:
    with pytest.raises(UsageError, match=r"matches no weight of .*low/kernel"):
        train(SGD, optim)


@pytest.mark.slow
def test_patterns_are_checked_before_data_is_read() -> None:
    with pytest.raises(
        UsageError,
        match=r"optim.rates: '\^steam' matches no weight of resnet8; they are called stem_conv",
    ):
        set_up(
            Config(dataset="no/such/folder", model="resnet8", optim=Optim(rates={"^steam": 0.1}))
        )


def test_decay_can_be_put_on_other_weights() -> None:
    assert [weight.path for weight in decayed(small(), "bias$")] == ["low/bias", "middle/bias"]
