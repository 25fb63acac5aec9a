"""Activations: figures against NumPy, planted dead units found by name, nothing left behind."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal.callbacks import ActivationMonitor, EarlyStopping
from tests.support.toys import two_classes

X, Y = two_classes(20, 4)


def scaled_tanh(x: Any) -> Any:
    """LeCun's."""
    return 1.7159 * keras.ops.tanh(x * (2 / 3))


def compiled(*layers: keras.layers.Layer, shape: tuple[int, ...] = (4,)) -> keras.Model:
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [keras.Input(shape), *layers, keras.layers.Dense(2, name="top")], name="net"
    )
    model.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def look(model: keras.Model, folder: Path, x: Any = X) -> dict[str, dict[str, Any]]:
    """The figures of one line by layer."""
    monitor = ActivationMonitor(folder / "activations.jsonl", batch=x)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_end(0)
    (line,) = lines(folder / "activations.jsonl")
    assert line["images"] == len(x)
    return {row["layer"]: row for row in line["layers"]}


@pytest.mark.parametrize(
    ("name", "function", "slope"),
    [
        ("sigmoid", lambda x: 1 / (1 + np.exp(-x)), lambda x, y: y * (1 - y)),
        ("tanh", np.tanh, lambda x, y: 1 - y**2),
        (
            scaled_tanh,
            lambda x: 1.7159 * np.tanh(2 / 3 * x),
            lambda x, y: 1.7159 * 2 / 3 * (1 - (y / 1.7159) ** 2),
        ),
        ("relu", lambda x: np.maximum(x, 0), lambda x, y: y > 0),
        ("relu6", lambda x: np.clip(x, 0, 6), lambda x, y: (y > 0) & (y < 6)),
    ],
)
def test_figures_are_those_of_numpy(name: Any, function: Any, slope: Any, tmp_path: Path) -> None:
    model = compiled(
        keras.layers.Dense(6, name),
        keras.layers.Dense(50, name, name="wide", kernel_initializer="ones"),
    )
    model.layers[1].kernel.assign(4 * np.random.default_rng(1).normal(size=(6, 50)))
    found = look(model, tmp_path)["net/wide"]
    hidden = function(X @ model.layers[0].kernel.numpy().astype("float64"))
    sums = hidden @ model.layers[1].kernel.numpy()
    values = function(sums)
    assert found["mean"] == pytest.approx(values.mean(), rel=1e-4)
    assert found["spread"] == pytest.approx(values.std(), rel=1e-4)
    assert found["saturated"] == pytest.approx((slope(sums, values) < 0.01).mean(), abs=0.002)
    assert found["saturated"] > 0.05


def test_a_dead_relu_is_named_wherever_it_is(tmp_path: Path) -> None:
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, "relu", name="fused")], name="inner"
    )
    model = compiled(inner, keras.layers.Dense(3, name="before"), keras.layers.ReLU(name="apart"))
    inner.layers[0].bias.assign([0, -1e3, 0, 0, -1e3])
    model.layers[1].bias.assign([0, 0, -1e3])
    found = look(model, tmp_path)
    assert list(found) == ["inner/fused", "apart"]
    assert (found["inner/fused"]["dead"], found["inner/fused"]["units"]) == ([1, 4], 5)
    assert (found["apart"]["dead"], found["apart"]["units"]) == ([2], 3)


def test_a_channel_is_dead_only_at_every_position(tmp_path: Path) -> None:
    model = compiled(
        keras.layers.Conv2D(3, 1, activation="relu", name="conv"),
        keras.layers.Flatten(),
        shape=(4, 4, 1),
    )
    model.layers[0].set_weights([np.array([[[[1.0, 0.0, -1.0]]]]), np.array([0.0, -1.0, 0.0])])
    image = np.zeros((2, 4, 4, 1), "float32")
    image[1, 2, 3, 0] = 1  # one position of one image wakes channel 0, none the others
    assert look(model, tmp_path, image)["net/conv"]["dead"] == [1, 2]


def test_a_leaky_relu_never_dies(tmp_path: Path) -> None:
    model = compiled(
        keras.layers.Dense(5, name="before"), keras.layers.LeakyReLU(0.01, name="leaky")
    )
    model.layers[0].bias.assign([-1e3] * 5)
    found = look(model, tmp_path)["leaky"]
    assert (found["dead"], found["saturated"]) == (None, None)


def test_a_recurrent_cell_is_seen(tmp_path: Path) -> None:
    model = compiled(keras.layers.SimpleRNN(3, name="rnn"), shape=(5, 4))
    assert len(look(model, tmp_path, np.ones((2, 5, 4), "float32"))) == 1


def test_epochs_see_the_batch_and_the_end_every_validation_image_of_the_best_weights(
    tmp_path: Path,
) -> None:
    model = compiled(keras.layers.Dense(5, "relu", name="hidden"))
    batches = [(X[:8], Y[:8]), (X[8:16], Y[8:16]), (X[16:], Y[16:])]
    monitor = ActivationMonitor(tmp_path / "a.jsonl", batch=X[:4], validation=batches, every=2)
    early = EarlyStopping("loss", min_delta=10)  # the first epoch stays the best
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[early, monitor])
    found = lines(tmp_path / "a.jsonl")
    assert [(line["data"], line["images"], line.get("epoch")) for line in found] == [
        ("batch", 4, 2),
        ("batch", 4, 4),
        ("validation", 20, None),
    ]
    kernel, bias = model.layers[0].get_weights()
    assert found[-1]["layers"][0]["mean"] == pytest.approx(
        np.maximum(X @ kernel + bias, 0).mean(), rel=1e-5
    )


def test_the_model_is_as_before_also_after_an_exception(tmp_path: Path) -> None:
    model = compiled(
        keras.layers.Dense(5, "relu"), keras.layers.BatchNormalization(), keras.layers.ReLU()
    )
    before = [vars(layer).get("activation") for layer in model.layers]
    weights = model.get_weights()
    look(model, tmp_path)
    with pytest.raises(ValueError, match="incompatible"):
        look(model, tmp_path, X[:, :2])
    assert [vars(layer).get("activation") for layer in model.layers] == before
    assert not any("call" in vars(layer) for layer in model.layers)
    for new, old in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(new, old)


def test_lines_come_again_once(tmp_path: Path) -> None:
    def fit(path: Path, epochs: int) -> None:
        monitor = ActivationMonitor(path, batch=X, validation=[X])
        model = compiled(keras.layers.Dense(5, "relu", name="hidden"))
        model.fit(X, Y, epochs=epochs, verbose=0, shuffle=False)
        monitor.set_model(model)
        monitor.on_train_begin()
        monitor.on_epoch_end(epochs - 1)
        monitor.on_train_end()

    fit(tmp_path / "a.jsonl", 2)
    once = lines(tmp_path / "a.jsonl")
    fit(tmp_path / "a.jsonl", 2)
    assert lines(tmp_path / "a.jsonl") == once
    assert [line["data"] for line in once] == ["batch", "validation"]


def test_refuses_no_epochs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every must be at least 1 epoch, got 0"):
        ActivationMonitor(tmp_path / "a.jsonl", every=0)
