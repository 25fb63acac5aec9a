"""Callbacks in other programs: models without weights, own losses, steps counted differently."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal import callbacks
from tests.support.events import values

X = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 40)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Own(keras.Model):
    """A step of its own, which logs what it likes and moves no metric."""

    name_of_loss = "loss"

    def train_step(self, data: Any) -> dict[str, Any]:
        super().train_step(data)
        x, y = data
        self.reset_metrics()
        return {self.name_of_loss: LOSS(y, self(x))}


def network(kind: Any = keras.Sequential, optimizer: Any = None, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(3, name="top")(keras.layers.Dense(5, "tanh", name="low")(inputs))
    model = keras.Model(inputs, outputs) if kind is keras.Sequential else kind(inputs, outputs)
    model.compile(optimizer or keras.optimizers.SGD(0.1), LOSS, **options)
    return model


def fit(model: Any, *watching: Any, epochs: int = 3, **options: Any) -> None:
    data = {"x": X, "y": Y, "batch_size": 8, "shuffle": False} | options
    model.fit(epochs=epochs, verbose=0, callbacks=list(watching), **data)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "iterations.jsonl").read_text().splitlines()]


WEIGHTLESS: dict[str, Callable[[Path], Any]] = {
    "ExponentialMovingAverage": lambda folder: callbacks.ExponentialMovingAverage(),
    "GradientFlow": lambda folder: callbacks.GradientFlow(folder / "flow.jsonl", batch=(X, Y)),
    "NanGuard": lambda folder: callbacks.NanGuard(keep_state=True),
    "Freezing": lambda folder: callbacks.Freezing("low"),
    "SmallUpdates": lambda folder: callbacks.SmallUpdates(),
}


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_a_model_whose_weights_are_yet_to_be_made_is_refused(name: str, tmp_path: Path) -> None:
    model = keras.Sequential([keras.layers.Dense(3)])
    model.compile("sgd", LOSS)
    with pytest.raises(
        ValueError, match=rf"{name}.* needs a model that has its weights: begin sequential\w* with"
    ):
        fit(model, WEIGHTLESS[name](tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_optimizer_that_averages_and_frozen_weights_are_refused() -> None:
    model = network(optimizer=keras.optimizers.SGD(0.1, use_ema=True))
    with pytest.raises(
        ValueError, match="Freezing cannot go with use_ema of the optimizer: use Exp"
    ):
        fit(model, callbacks.Freezing("low"))
    assert all(weight.trainable for weight in model.weights)


def test_two_averages_in_one_fit_are_refused_and_the_next_fit_has_none() -> None:
    model = network()
    with pytest.raises(ValueError, match="use one ExponentialMovingAverage"):
        fit(model, callbacks.ExponentialMovingAverage(), callbacks.ExponentialMovingAverage())
    fit(model, callbacks.ExponentialMovingAverage())
    assert "evaluate" not in vars(model)


def test_who_evaluates_as_an_epoch_ends_changes_no_line(tmp_path: Path) -> None:
    looks = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda e, logs: model.evaluate(X[:20], Y[:20], verbose=0)
    )
    for name, more in (("plain", []), ("looked at", [looks])):
        model = network()
        fit(model, *more, callbacks.TrainingLog(tmp_path / name, every=3))
    assert lines(tmp_path / "plain") == lines(tmp_path / "looked at")


def test_a_step_of_ones_own_is_logged_as_it_is(tmp_path: Path) -> None:
    seen: list[float] = []
    model = network(Own)
    steps = keras.callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: add(seen, logs))
    fit(model, steps, callbacks.TrainingLog(tmp_path, every=2), callbacks.StuckDecay(2))
    assert [line["loss"] for line in lines(tmp_path)] == pytest.approx(seen[1::2], rel=1e-6)


def add(seen: list[float], logs: dict[str, Any]) -> None:
    seen.append(float(logs["loss"]))


@pytest.mark.parametrize(
    "watching", [lambda folder: callbacks.TrainingLog(folder), lambda _: callbacks.StuckDecay(2)]
)
def test_a_step_without_a_loss_is_refused_by_what_reads_it(
    watching: Callable[[Path], Any], tmp_path: Path
) -> None:
    model = network(Own)
    model.name_of_loss = "generator"
    with pytest.raises(
        ValueError, match=r"no loss is logged, but \['generator'\]: let train_step return one"
    ):
        fit(model, watching(tmp_path))


def test_gathered_gradients_are_one_iteration(tmp_path: Path) -> None:
    """Ten batches in two epochs are five updates, of which one lies across the epochs' end."""
    model = network(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    flow = callbacks.GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y))
    histograms = callbacks.WeightHistograms(tmp_path / "events", every_steps=2)
    fit(model, callbacks.TrainingLog(tmp_path, every=2), flow, histograms, epochs=2)
    assert [line["iteration"] for line in lines(tmp_path)] == [2, 4]
    written = [
        (step, value)
        for step, _, tag, value in values(tmp_path / "events")
        if tag.startswith("update_norm")
    ]
    assert {step for step, _ in written} == {2, 4}
    assert all(value > 0 for _, value in written)
    rows = [
        json.loads(line)["layers"] for line in (tmp_path / "flow.jsonl").read_text().splitlines()
    ]
    assert [row["update"] is None for of_epoch in rows for row in of_epoch] == [True] * 4 + [
        False
    ] * 2


def test_a_line_comes_with_the_execution_that_reaches_its_iteration(tmp_path: Path) -> None:
    fit(
        network(steps_per_execution=4),
        callbacks.TrainingLog(tmp_path, every=3),
        epochs=1,
        batch_size=2,
    )
    assert [line["iteration"] for line in lines(tmp_path)] == [4, 8, 12, 16, 20]


def test_nan_is_seen_by_the_execution_that_reaches_the_step() -> None:
    bad = X.copy()
    bad[2] = np.nan
    model = network(steps_per_execution=3)
    with pytest.raises(callbacks.NonFiniteError) as caught:
        fit(model, callbacks.NanGuard(10), x=bad, batch_size=1)
    assert caught.value.step == 11


@pytest.mark.filterwarnings(
    "ignore:Your input ran out of data"
)  # which Keras says of every unknown length
def test_updates_are_known_from_the_second_epoch_where_the_length_is_not(tmp_path: Path) -> None:
    import tensorflow as tf

    data = tf.data.Dataset.from_generator(
        lambda: iter(zip(X.reshape(5, 8, 6), Y.reshape(5, 8), strict=True)),
        output_signature=(tf.TensorSpec((8, 6)), tf.TensorSpec((8,), tf.int64)),
    )
    model = network()
    path = tmp_path / "flow.jsonl"
    model.fit(
        data,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[callbacks.GradientFlow(path, batch=(X, Y))],
    )
    rows = [json.loads(line)["layers"] for line in path.read_text().splitlines()]
    assert [row["update"] is None for of_epoch in rows for row in of_epoch] == [True] * 4 + [
        False
    ] * 2


@pytest.mark.parametrize("policy", ["float32", "bfloat16"])
def test_kept_weights_are_loaded_into_a_model_that_is_built_again(
    policy: str, tmp_path: Path
) -> None:
    def made() -> Any:
        layers = [keras.layers.Dense(4, dtype=policy), keras.layers.Dense(3, dtype=policy)]
        model = keras.Sequential([keras.Input((6,)), *layers])
        model.compile("sgd", LOSS)
        return model

    first = made()
    second = made()
    fit(first, callbacks.BestWeights(tmp_path, "loss", top=1), epochs=1)
    callbacks.BestWeights.load(tmp_path, second)
    for one, other in zip(first.weights, second.weights, strict=True):
        assert one.path != other.path
        np.testing.assert_array_equal(
            *(weight.numpy().astype("float32") for weight in (one, other))
        )


def test_a_budget_foretells_no_more_epochs_than_fit_was_given() -> None:
    told: list[int] = []
    budget = callbacks.Budget(1000.0)
    reads = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: told.append(budget.expected_epochs())
    )
    fit(network(), budget, reads, epochs=3)
    assert told == [3, 3, 3]
