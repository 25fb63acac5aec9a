import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.callbacks import WeightHistograms
from tests.support.events import scalars, values

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 1)).astype("float32")


def linear(optimizer="sgd"):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="dense")], name="line")
    model.compile(optimizer, "mse")
    return model


def write(model, folder, *, epochs=1, **arguments):
    callback = WeightHistograms(folder, **arguments)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_end(epoch, {})
    callback.on_train_end()


@pytest.mark.parametrize("bias", [1.0, np.nextafter(np.float32(1), np.float32(2)), 0.0, np.inf])
def test_weights_that_are_almost_equal_have_a_histogram(tmp_path, bias):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")], name="line")
    model.set_weights([np.ones((3, 2)), np.array([1.0, bias])])
    write(model, tmp_path)
    (found,) = [value for _, _, tag, value in values(tmp_path) if tag == "weights/line/dense/bias"]
    assert found[:, 2].sum() == np.isfinite([1.0, bias]).sum()


def test_histograms_and_norms_of_all_weights(tmp_path):
    model = linear()
    kernel = np.array([[3.0], [4.0], [0.0]])
    model.set_weights([kernel, np.array([0.5])])
    write(model, tmp_path)
    found = {tag: (plugin, value) for _, plugin, tag, value in values(tmp_path)}
    assert {tag for tag, (plugin, _) in found.items() if plugin == "histograms"} == {
        "weights/line/dense/kernel",
        "weights/line/dense/bias",
    }
    assert (
        found["weights/line/dense/kernel"][1][:, 2].sum() == 3
    )  # buckets are (left, right, count)
    assert found["weight_norm/line/dense/kernel"][1] == 5.0
    assert found["weight_norm/line/dense/bias"][1] == 0.5


def test_equals_tensorflows_own_summaries(tmp_path):
    model = linear()
    write(model, tmp_path / "ours")
    kernel = model.get_weights()[0]
    with tf.summary.create_file_writer(str(tmp_path / "theirs")).as_default(step=0):
        tf.summary.histogram("weights/line/dense/kernel", kernel)
        tf.summary.scalar("weight_norm/line/dense/kernel", np.linalg.norm(kernel))
    ours, theirs = (
        {
            tag: (plugin, value)
            for _, plugin, tag, value in values(tmp_path / folder)
            if "kernel" in tag
        }
        for folder in ("ours", "theirs")
    )
    assert {tag: plugin for tag, (plugin, _) in ours.items()} == {
        tag: plugin for tag, (plugin, _) in theirs.items()
    }
    for tag, (_, value) in theirs.items():
        np.testing.assert_allclose(ours[tag][1], value, rtol=1e-6, atol=1e-6, err_msg=tag)


def test_weights_that_are_not_finite_are_left_out_of_the_buckets(tmp_path):
    model = linear()
    model.set_weights([np.array([[1.0], [np.nan], [np.inf]]), np.array([0.5])])
    write(model, tmp_path)
    found = {tag: value for _, _, tag, value in values(tmp_path)}
    assert found["weights/line/dense/kernel"][:, 2].sum() == 1
    assert not np.isfinite(found["weight_norm/line/dense/kernel"])


@pytest.mark.parametrize("scaled", [False, True])
def test_gradients_of_the_loss_on_the_batch(tmp_path, scaled):
    optimizer = keras.optimizers.SGD()
    model = linear(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer)
    write(model, tmp_path, batch=(X, Y))
    kernel, bias = model.get_weights()
    error = 2 * (X @ kernel + bias - Y) / len(X)
    found = {tag: value for _, tag, value in scalars(tmp_path)}
    assert found["gradient_norm/line/dense/kernel"] == pytest.approx(
        np.linalg.norm(X.T @ error), rel=1e-5
    )
    assert found["gradient_norm/line/dense/bias"] == pytest.approx(abs(error.sum()), rel=1e-5)


def test_gradients_follow_the_weights(tmp_path):
    model = linear()
    callback = WeightHistograms(tmp_path, batch=(X, Y))
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0)
    solution = np.linalg.lstsq(np.c_[X, np.ones(6)], Y, rcond=None)[0]
    model.set_weights([solution[:3], solution[3]])
    callback.on_epoch_end(1)
    callback.on_train_end()
    norms = {(step, tag): value for step, tag, value in scalars(tmp_path)}
    assert norms[0, "gradient_norm/line/dense/kernel"] > 0.1
    assert norms[1, "gradient_norm/line/dense/kernel"] == pytest.approx(0, abs=1e-5)


def test_writes_every_so_many_epochs(tmp_path):
    write(linear(), tmp_path, epochs=7, every=3)
    assert sorted({step for step, _, _ in scalars(tmp_path)}) == [0, 3, 6]


def test_makes_no_file_before_there_is_something_to_write(tmp_path):
    write(linear(), tmp_path / "logs", epochs=0)
    assert not (tmp_path / "logs").exists()


def test_changes_neither_weights_nor_statistics_nor_metrics_nor_random_state(tmp_path):
    inputs = keras.Input((3,))
    hidden = keras.layers.Dropout(0.5)(
        keras.layers.BatchNormalization()(keras.layers.Dense(4)(inputs))
    )
    outputs = {
        "a": keras.layers.Dense(1, name="a")(hidden),
        "b": keras.layers.Dense(1, name="b")(hidden),
    }
    model = keras.Model(inputs, outputs)
    model.compile("adam", {"a": "mse", "b": "mae"}, metrics={"a": ["mae"]})
    targets = {"a": Y, "b": Y}
    model.fit(X, targets, verbose=0)
    everything = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in everything]
    tf.random.set_seed(5)
    expected = tf.random.uniform([3]).numpy()
    tf.random.set_seed(5)
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    write(model, tmp_path, batch=(X, targets), epochs=2)
    np.testing.assert_array_equal(tf.random.uniform([3]), expected)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert any("Seed" in type(v).__name__ or "seed" in v.path for v in everything)
    assert sum("loss" in variable.path for variable in everything) > 2
    for variable, value in zip(everything, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


class WordScores(keras.layers.Layer):
    """Sums one number a word; `spare` has no part in it."""

    def build(self, input_shape):
        self.table = self.add_weight(shape=(4, 1), name="table")
        self.spare = self.add_weight(shape=(2,), name="spare")

    def call(self, words):
        return keras.ops.sum(keras.ops.take(self.table, words, axis=0), axis=1)


def test_sparse_gradients_count_and_missing_ones_are_left_out(tmp_path):
    model = keras.Sequential([keras.Input((2,), dtype="int32"), WordScores()])
    model.compile("sgd", lambda y, prediction: prediction)
    write(model, tmp_path, batch=(np.array([[1, 1], [2, 1]]), np.zeros((2, 1))))
    norms = [value for _, tag, value in scalars(tmp_path) if tag.startswith("gradient")]
    # Word 1 occurs three times and word 2 once; the loss is the mean over two samples.
    assert norms == pytest.approx([np.hypot(1.5, 0.5)])


def fit_once(folder, steps=None, epochs=2, **arguments):
    """Returns the model, its weights ahead of and after every step, and all that was written."""
    model = linear(keras.optimizers.SGD(0.1, momentum=0.9))
    weights = [model.get_weights()]
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(model.get_weights())
    )
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(2)
    data = data if steps is None else data.filter(lambda x, y: True)
    callback = WeightHistograms(folder, **arguments)
    model.fit(data, epochs=epochs, verbose=0, shuffle=False, callbacks=[callback, keep])
    return weights, {(step, tag): value for step, _, tag, value in values(folder)}


def assert_update(found, step, before, after):
    for name, one, other in zip(("kernel", "bias"), before, after, strict=True):
        change = (other - one).astype(np.float64)
        counts, edges = np.histogram(change, 30) if len(change.ravel()) > 1 else (None, None)
        written = found[step, f"updates/line/dense/{name}"]
        assert found[step, f"update_norm/line/dense/{name}"] == pytest.approx(
            np.linalg.norm(change), rel=1e-6
        )
        if counts is not None:
            np.testing.assert_array_equal(written[:, 2], counts)
            np.testing.assert_allclose(written[:, 0], edges[:-1], rtol=1e-6, atol=1e-12)


def test_updates_are_what_the_last_step_of_the_epoch_added(tmp_path):
    weights, found = fit_once(tmp_path)
    for epoch in range(2):
        assert_update(found, epoch, weights[3 * epoch + 2], weights[3 * epoch + 3])


def test_every_so_many_steps_across_epochs(tmp_path):
    weights, found = fit_once(tmp_path, every_steps=2, epochs=3)
    assert {step for step, _ in found} == {2, 4, 6, 8}
    for step in (2, 4, 6, 8):
        assert_update(found, step, weights[step - 1], weights[step])
        kernel = weights[step][0].astype(np.float64)
        assert found[step, "weight_norm/line/dense/kernel"] == pytest.approx(
            np.linalg.norm(kernel), rel=1e-6
        )


@pytest.mark.filterwarnings("ignore:.*ran out of data")
def test_without_a_known_number_of_steps_the_first_epoch_has_no_updates(tmp_path):
    _, found = fit_once(tmp_path, steps="unknown")
    assert {step for step, tag in found if tag.startswith("update")} == {1}


@pytest.mark.parametrize("arguments", [{"every": 0}, {"every_steps": 0}, {"batch": (X, Y, X)}])
def test_refuses_bad_arguments(arguments, tmp_path):
    with pytest.raises(ValueError, match=r"must be .* got \d"):
        WeightHistograms(tmp_path, **arguments)
