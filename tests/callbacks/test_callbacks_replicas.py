"""The callbacks on two devices give what they give on one (two: in a process of its own)."""

import io
import json
import math
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal import callbacks
from epochal.callbacks import GradientClipping, schedules
from tests.support.events import scalars
from tests.support.toys import line, linear

X, Y = line()


def decayed():
    """A model with a penalty, and a layer at which replicas wait for each other.

    Gradients of the data alone leave the penalty out. At the layer another replica's thread goes
    on: what one changes in the model meanwhile, all see.
    """
    kernel = {"kernel_initializer": "zeros", "kernel_regularizer": keras.regularizers.L2(0.1)}
    together = keras.layers.BatchNormalization(synchronized=True)
    model = keras.Sequential([keras.Input((3,)), together, keras.layers.Dense(1, **kernel)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


class Resume(keras.callbacks.Callback):
    """Hands the sums of an interrupted epoch to `clipping`, as a checkpoint would."""

    def __init__(self, clipping):
        super().__init__()
        self.clipping = clipping

    def on_train_begin(self, logs=None):
        sums = {"norms": 6.0, "clipped": 1.0, "steps": 2.0}
        none = np.full(100, math.inf, np.float32)
        self.clipping.set_state({**sums, "latest": [none]})
        found = self.clipping.get_state()
        np.testing.assert_array_equal(found.pop("latest"), [none])
        assert found == sums


def train(model, x, y, *, max_norm, batch, epochs=2):
    clipping = GradientClipping(max_norm)
    history = model.fit(
        *(x, y),
        batch_size=batch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[clipping, Resume(clipping)],
    )
    return {"weights": model.get_weights(), **history.history}


def with_replicas(replicas):
    """Returns what clipped training gives on so many devices; 1 means no strategy."""
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        device = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(device, parts)
        strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(replicas)])
    with strategy.scope():
        return {
            "dense": _dense_case(),
            "embedding": _embedding_case(),
            "overflow": _overflow_case(),
            "all": _all_case(),
        }


def _dense_case():
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True))
    return train(model, np.tile(X, (3, 1)), np.tile(Y, (3, 1)), max_norm=0.5, batch=8)


def _embedding_case():
    embed = keras.layers.Embedding(5, 2, embeddings_initializer="ones")
    layers = [
        keras.Input((4,), dtype="int32"),
        embed,
        keras.layers.Flatten(),
        keras.layers.Dense(1, "tanh"),
    ]
    model = keras.Sequential(layers)
    model.layers[-1].set_weights([np.linspace(-1, 1, 8).reshape(8, 1), np.zeros(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    words = np.random.default_rng(1).integers(0, 3, (16, 4)).astype("int32")
    return train(model, words, words[:, :1].astype("float32"), max_norm=0.2, batch=8)


def _overflow_case():
    """The second batch overflows float32, in the samples of the last replica only."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=8.0)
    model = linear(optimizer)
    x = np.concatenate([X, X])
    x[15] = 1e38
    result = train(model, x, np.concatenate([Y, Y]), max_norm=0.5, batch=8, epochs=1)
    return {
        **result,
        "scale": float(optimizer.dynamic_scale.numpy()),
        "steps": int(optimizer.iterations.numpy()),
    }


def _all_case():
    """Every callback at once, on a model whose learning rate and weights are mirrored."""
    early = callbacks.EarlyStopping(patience=2)
    stream = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        every = [
            callbacks.Budget(3600),
            callbacks.StepDecay(every=2),
            callbacks.RateSchedule(0.1, partial(schedules.one_cycle, steps=8)),
            callbacks.PlateauDecay(),
            callbacks.StuckDecay(),
            callbacks.Timing(f"{folder}/timing.json"),
            callbacks.TrainingLog(folder),
            callbacks.Freezing("bias", every=2),
            callbacks.LossCurves(f"{folder}/losses.png", log=f"{folder}/iterations.jsonl"),
            GradientClipping(0.5),
            callbacks.WeightHistograms(Path(folder) / "tensorboard", batch=(X, Y)),
            callbacks.GradientFlow(Path(folder) / "flow.jsonl", batch=(X, Y)),
            callbacks.ExponentialMovingAverage(0.8),
            early,
            callbacks.BestWeights(Path(folder) / "best"),
            callbacks.ActivationMonitor(
                Path(folder) / "activations.jsonl", batch=X, validation=[X, X]
            ),
            callbacks.NanGuard(keep_state=True),
            callbacks.Progress(monitor="val_loss", stream=stream),
            callbacks.SmallUpdates(),
        ]
        assert {type(item).__name__ for item in every} | {"NonFiniteError"} == set(
            callbacks.__all__
        )
        model = decayed()
        history = model.fit(
            X,
            Y,
            batch_size=4,
            shuffle=False,
            epochs=4,
            verbose=0,
            validation_data=(X, Y),
            callbacks=every,
        )
        norms = [
            value
            for _, tag, value in scalars(Path(folder) / "tensorboard")
            if tag.startswith("gradient_norm")
        ]
        rows = [
            json.loads(line)["layers"][0]
            for line in (Path(folder) / "flow.jsonl").read_text().splitlines()
        ]
    epochs = [line.split()[:4] for line in stream.getvalue().splitlines()]
    model.set_weights([np.full_like(weight, 9.0) for weight in model.get_weights()])
    assert early.restore_best()
    lines = [float(words[3]) for words in epochs]
    flow = [
        row[key] for row in rows for key in ("gradient", "ratio", "update") if row[key] is not None
    ]
    return {
        "weights": model.get_weights(),
        "lines": lines,
        "tensorboard": norms,
        "flow": flow,
        **history.history,
    }


@pytest.fixture(scope="module")
def one_and_two():
    # Logical devices must be set before TensorFlow starts, and collectives allow one strategy a
    # process.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        two = pool.submit(with_replicas, 2)
        one = with_replicas(1)
        return one, two.result(timeout=1200)


@pytest.mark.parametrize("case", ["dense", "embedding", "overflow", "all"])
def test_two_devices_give_what_one_gives(case, one_and_two):
    one, two = (results[case] for results in one_and_two)
    assert one.keys() == two.keys()
    for left, right in zip(one.pop("weights"), two.pop("weights"), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-5, atol=1e-6)
    for name in one.keys() - {"loss"}:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5)


def norm_of_first_gradient():
    return 2 / len(X) * math.hypot(np.linalg.norm(X.T @ Y), np.linalg.norm(Y.sum()))


def test_overflow_in_one_replica_skips_the_step_on_all(one_and_two):
    result = one_and_two[1]["overflow"]
    assert (result["scale"], result["steps"]) == (4.0, 1)
    # The sums handed over by Resume, the first step's norm, and nothing of the second step.
    assert result["gradient_norm"] == pytest.approx(
        [(6.0 + norm_of_first_gradient()) / 3], rel=1e-5
    )
    assert result["clipped_steps"] == pytest.approx([2 / 3])
