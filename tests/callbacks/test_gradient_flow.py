"""Gradient flow: norms against gradients derived by hand, flags on networks known to be ill."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal.callbacks import GradientClipping, GradientFlow
from tests.support.toys import two_classes

X, Y = two_classes(24, 6)


def network(*hidden: int, activation: str = "tanh", **options: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Dense(units, activation, name=f"dense{i}", **options)
        for i, units in enumerate(hidden)
    ]
    model = keras.Sequential(
        [keras.Input((6,)), *layers, keras.layers.Dense(2, name="top")], name="net"
    )
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def fit(
    model: keras.Model, *watching: Any, epochs: int = 2, begin: int = 0, batch_size: int = 8
) -> None:
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": False, "verbose": 0}
    model.fit(X, Y, epochs=epochs, initial_epoch=begin, callbacks=list(watching), **options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def flags(model: keras.Model, folder: Path) -> list[str | None]:
    """Before the first step."""
    return [row["flag"] for row in untrained(model, folder / "flow.jsonl")]


def untrained(model: keras.Model, path: Path) -> list[dict[str, Any]]:
    """The layers of the first line."""
    flow = GradientFlow(path, batch=(X, Y))
    flow.set_model(model)
    flow.on_train_begin()
    return lines(path)[0]["layers"]


def test_an_epoch_that_ends_early_has_no_update_of_an_earlier_one(tmp_path: Path) -> None:
    class Early(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.epochs_left = getattr(self, "epochs_left", 4) - 1
            self.model.stop_training = (
                not self.epochs_left
            )  # after the first step of the second epoch

    fit(network(5), GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y)), Early())
    _, whole, early = lines(tmp_path / "flow.jsonl")
    assert [row["update"] is None for row in (*whole["layers"], *early["layers"])] == [
        False,
        False,
        True,
        True,
    ]


def by_hand(weights: list[np.ndarray]) -> list[np.ndarray]:
    """The gradient of the mean cross-entropy of tanh(x W + b) V + c."""
    first, bias, second, _ = (weight.astype(np.float64) for weight in weights)
    hidden = np.tanh(X @ first + bias)
    logits = hidden @ second + weights[3]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (shares - np.eye(2)[Y]) / len(X)
    back = error @ second.T * (1 - hidden**2)
    return [X.T @ back, back.sum(0), hidden.T @ error, error.sum(0)]


def length(*arrays: np.ndarray) -> float:
    return float(np.sqrt(sum((array.astype(np.float64) ** 2).sum() for array in arrays)))


def test_norms_and_ratios_are_those_derived_by_hand(tmp_path: Path) -> None:
    model = network(5)
    kept = [model.get_weights()]
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kept.append(model.get_weights())
    )
    fit(model, GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y)), keep)
    found = lines(tmp_path / "flow.jsonl")
    assert [(line["iteration"], line["epoch"]) for line in found] == [(0, 0), (3, 1), (6, 2)]
    for line in found:
        weights = kept[line["iteration"]]
        gradients = by_hand(weights)
        before = kept[max(line["iteration"] - 1, 0)]
        for place, row in enumerate(line["layers"]):
            own = slice(2 * place, 2 * place + 2)
            gradient = length(*gradients[own])
            weight = length(*weights[own])
            count = sum(array.size for array in weights[own])
            assert row["layer"] == ("net/dense0", "net/top")[place]
            assert row["gradient"] == pytest.approx(gradient, rel=1e-4)
            assert row["rms"] == pytest.approx(gradient / count**0.5, rel=1e-4)
            assert row["weight"] == pytest.approx(weight, rel=1e-5)
            assert row["ratio"] == pytest.approx(gradient / weight, rel=1e-4)
            moved = length(*(new - old for new, old in zip(weights[own], before[own], strict=True)))
            expected = moved / length(*before[own]) if line["epoch"] else None
            assert row["update"] == (
                expected if expected is None else pytest.approx(expected, rel=1e-4)
            )


def test_one_full_batch_moves_as_far_as_the_rate_says(tmp_path: Path) -> None:
    model = network(5)
    fit(model, GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y)), epochs=1, batch_size=24)
    before, after = lines(tmp_path / "flow.jsonl")
    for old, new in zip(before["layers"], after["layers"], strict=True):
        assert new["update"] == pytest.approx(0.1 * old["ratio"], rel=1e-3)


def test_weight_decay_does_not_hide_a_gradient(tmp_path: Path) -> None:
    plain = network(5)
    decayed = network(5, kernel_regularizer=keras.regularizers.L2(10.0))
    first = untrained(plain, tmp_path / "plain")
    second = untrained(decayed, tmp_path / "decayed")
    assert first[0]["gradient"] == pytest.approx(second[0]["gradient"], rel=1e-6)
    assert all(layer.kernel_regularizer for layer in decayed.layers[:1])
    assert float(decayed.losses[0]) > 0


def test_a_deep_sigmoid_network_vanishes(tmp_path: Path) -> None:
    found = flags(network(*[16] * 12, activation="sigmoid"), tmp_path)
    assert found[0] == "vanishing"
    assert found[-1] is None
    assert found == ["vanishing"] * found.count("vanishing") + [None] * found.count(None)


def test_saturated_from_wide_weights_explodes(tmp_path: Path) -> None:
    wide = keras.initializers.RandomNormal(stddev=5.0)
    for activation in ("tanh", "relu"):
        assert "exploding" in flags(
            network(*[32] * 12, activation=activation, kernel_initializer=wide), tmp_path
        )


def test_the_initialisation_of_he_keeps_a_deep_network_well(tmp_path: Path) -> None:
    assert set(
        flags(network(*[32] * 12, activation="relu", kernel_initializer="he_normal"), tmp_path)
    ) == {None}


def test_no_gradient_at_all_has_vanished(tmp_path: Path) -> None:
    model = network(5, activation="relu")
    model.layers[0].bias.assign([-1e3] * 5)
    assert flags(model, tmp_path)[0] == "vanishing"


def test_a_gradient_that_is_not_finite_explodes_as_null(tmp_path: Path) -> None:
    model = network(5)
    model.layers[1].bias.assign([np.nan, 0])
    assert flags(model, tmp_path) == ["exploding", "exploding"]
    assert lines(tmp_path / "flow.jsonl")[0]["layers"][0]["gradient"] is None


def test_the_clip_value_is_the_95th_percentile_of_the_steps(tmp_path: Path) -> None:
    clipping = GradientClipping()
    seen = []
    model = network(5)
    norms = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(clipping.latest_norms())
    )
    flow = GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y), norms=clipping.latest_norms)
    fit(model, clipping, flow, norms, epochs=4, batch_size=4)
    found = [line["clip"] for line in lines(tmp_path / "flow.jsonl")]
    assert found[:2] == [None, None]  # 0 and 6 norms are too few
    assert len(seen[-1]) == 24
    for epoch in (2, 3, 4):
        in_order = np.sort(seen[6 * epoch - 1])
        assert found[epoch] == pytest.approx(in_order[int(np.ceil(0.95 * len(in_order))) - 1])


def test_nothing_of_the_model_moves(tmp_path: Path) -> None:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.5)(
        keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    )
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    fit(model, epochs=1)
    everything = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in everything]
    flow = GradientFlow(tmp_path / "flow.jsonl", batch=(X, Y))
    flow.set_model(model)
    flow.on_train_begin()
    flow.on_epoch_end(0)
    flow.on_epoch_end(1)
    for variable, value in zip(everything, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def test_lines_of_a_stopped_training_come_again_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    stopped = tmp_path / "stopped.jsonl"
    fit(network(5), GradientFlow(whole, batch=(X, Y)), epochs=3)
    model = network(5)
    flow = GradientFlow(stopped, batch=(X, Y))
    fit(model, flow, epochs=2)
    state = flow.get_state()
    fit(model, flow, epochs=3, begin=2)
    after = [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]
    with stopped.open("a") as torn:
        torn.write('{"iteration": 9, "epo')
    # The newest checkpoint is one of the second epoch's validation: its line is there, and comes
    # again.
    model = network(5)
    fit(model, epochs=2)
    again = GradientFlow(stopped, batch=(X, Y))
    again.set_model(model)
    again.set_params({"steps": 3})
    again.on_train_begin()
    again.set_state(state)
    again.on_epoch_end(1)
    assert lines(stopped) == lines(whole)[:3]
    fit(model, again, epochs=3, begin=2)
    assert stopped.read_bytes() == whole.read_bytes()
    for new, old in zip([*model.weights, *model.optimizer.variables], after, strict=True):
        np.testing.assert_array_equal(new.numpy(), old)


@pytest.mark.parametrize("arguments", [{"every": 0}, {"batch": (X, Y, X)}])
def test_refuses_bad_arguments(arguments: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be .* got \d"):
        GradientFlow(tmp_path / "flow.jsonl", **{"batch": (X, Y), **arguments})
