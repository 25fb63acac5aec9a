"""Clipper against NumPy; test_callbacks_replicas.py has what happens on several devices."""

import math
from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from epochal.callbacks import GradientClipping
from epochal.callbacks.parts.clipping import Clipper
from epochal.callbacks.parts.clipping_log import ClippingLog
from epochal.callbacks.parts.gradients import clip_factor, dense, global_norm
from epochal.callbacks.parts.latest_norms import nearest_rank
from tests.support.toys import Interrupt, line, linear

X, Y = line()


def built(limit, by):
    clipper = Clipper(limit, by)
    clipper.build(tf.distribute.get_strategy())
    return clipper


def numpy_steps(max_norm, steps, rate=0.1):
    """Clipped gradient descent on the mean square error: returns kernel, bias and the norms."""
    kernel = np.zeros((3, 1))
    bias = np.zeros(1)
    norms = []
    for _ in range(steps):
        error = 2 * (X @ kernel + bias - Y) / len(X)
        gradients = X.T @ error, error.sum(axis=0)
        norms.append(math.sqrt(sum((g**2).sum() for g in gradients)))
        factor = min(1, max_norm / norms[-1])
        kernel = kernel - rate * factor * gradients[0]
        bias = bias - rate * factor * gradients[1]
    return kernel, bias, norms


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}])
@pytest.mark.parametrize("max_norm", [0.5, 6.0, 1e3])
def test_equals_numpy(max_norm, options):
    model = linear(keras.optimizers.SGD(0.1), **options)
    history = model.fit(
        X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[GradientClipping(max_norm)]
    ).history
    kernel, bias, norms = numpy_steps(max_norm, 4)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-5)
    np.testing.assert_allclose(history["gradient_norm"], norms, rtol=1e-5)
    assert history["clipped_steps"] == [float(norm > max_norm) for norm in norms]


def test_logs_the_mean_norm_and_the_share_of_clipped_steps_of_each_epoch():
    clipping = GradientClipping(7.0)
    history = linear(keras.optimizers.SGD(0.0)).fit(
        X, Y, batch_size=2, epochs=2, shuffle=False, verbose=0, callbacks=[clipping]
    )
    norms = []
    for x, y in zip(np.split(X, 4), np.split(Y, 4), strict=True):
        norms.append(math.hypot(np.linalg.norm(x.T @ y), np.linalg.norm(y.sum())))  # 2/len(x) is 1
    assert 0 < sum(norm > 7.0 for norm in norms) < 4
    assert history.history["gradient_norm"] == pytest.approx([np.mean(norms)] * 2, rel=1e-5)
    assert history.history["clipped_steps"] == [np.mean([norm > 7.0 for norm in norms])] * 2


def test_without_a_limit_only_measures():
    plain = linear(keras.optimizers.SGD(0.1))
    measured = linear(keras.optimizers.SGD(0.1))
    plain.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    history = measured.fit(
        X, Y, epochs=3, shuffle=False, verbose=0, callbacks=[GradientClipping()]
    ).history
    for a, b in zip(plain.get_weights(), measured.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert history["gradient_norm"] == pytest.approx(numpy_steps(1e9, 3)[2], rel=1e-5)
    assert "clipped_steps" not in history


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_later_fit_without_it_is_not_clipped(interrupted):
    model = linear(keras.optimizers.SGD(0.1))
    clipping = GradientClipping(1e-3)
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, verbose=0, callbacks=[clipping, Interrupt()])
    else:
        model.fit(X, Y, verbose=0, callbacks=[clipping])
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    model.fit(X, Y, batch_size=8, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], numpy_steps(1e9, 1)[0], rtol=1e-5)
    assert "apply" not in vars(model.optimizer)


def test_a_model_compiled_anew_after_an_interruption_trains():
    model = linear(keras.optimizers.SGD(0.1))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, verbose=0, callbacks=[GradientClipping(1e-3), Interrupt()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[GradientClipping(0.5)])
    np.testing.assert_allclose(model.get_weights()[0], numpy_steps(0.5, 1)[0], rtol=1e-5)


def test_loss_scaling_does_not_show():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0)
    model = linear(optimizer)
    history = model.fit(
        X, Y, batch_size=8, epochs=4, verbose=0, callbacks=[GradientClipping(0.5)]
    ).history
    kernel, _, norms = numpy_steps(0.5, 4)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-5)
    assert history["gradient_norm"] == pytest.approx(norms, rel=1e-5)


def test_refuses_accumulated_parts_and_a_second_clipping():
    model = linear(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4))
    with pytest.raises(ValueError, match="each of 4 accumulated parts: use larger batches"):
        model.fit(X, Y, verbose=0, callbacks=[GradientClipping(1.0)])
    model = linear(keras.optimizers.SGD(0.1, name="mine"))
    with pytest.raises(ValueError, match="'mine' is replaced already: use one GradientClipping"):
        model.fit(X, Y, verbose=0, callbacks=[GradientClipping(1.0), GradientClipping()])


@pytest.mark.parametrize("max_norm", [0, -1.0, math.inf, math.nan])
def test_refuses_a_limit_that_is_none(max_norm):
    with pytest.raises(ValueError, match=f"None or a positive number, got {max_norm}"):
        GradientClipping(max_norm)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=6), st.floats(0.1, 10))
def test_clipping_keeps_the_direction_and_bounds_the_length(values, limit):
    gradient = np.array(values, "float64")
    (clipped,), norm, _ = Clipper(limit, "norm").clip([tf.constant(gradient)], tf.ones(()))
    length = np.linalg.norm(gradient)
    np.testing.assert_allclose(norm, length, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(clipped), min(length, limit), rtol=1e-9)
    np.testing.assert_allclose(
        clipped.numpy() @ gradient, np.linalg.norm(clipped) * length, rtol=1e-9
    )


@pytest.mark.parametrize("scale", [1.0, 64.0])
@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("norm", [[1.5, 2.0], [0.0]]),
        ("variable", [[1.5, 2.0], [0.0]]),
        ("value", [[2.5, 2.5], [0.0]]),
    ],
)
def test_each_method_by_hand(by, expected, scale):
    gradients = [tf.constant([3.0 * scale, 4.0 * scale]), tf.constant([0.0])]
    clipped = Clipper(2.5, by).clip(gradients, tf.constant(scale))
    assert float(clipped.norm) == 5.0
    assert bool(clipped.is_clipped)
    for gradient, values in zip(clipped.gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, np.array(values) * scale, rtol=1e-6)


def test_only_a_common_factor_keeps_the_direction():
    gradients = [tf.constant([3.0, 4.0]), tf.constant([0.5])]
    before = np.array([3.0, 4.0, 0.5])
    cosine = {}
    for by in ("norm", "variable", "value"):
        clipped = np.concatenate(Clipper(1.0, by).clip(gradients, tf.ones(())).gradients)
        lengths = np.linalg.norm(clipped) * np.linalg.norm(before)
        cosine[by] = clipped @ before / lengths
    assert cosine["norm"] == pytest.approx(1)
    assert max(cosine["variable"], cosine["value"]) < 0.99


@pytest.mark.parametrize("percentile", [50, 90, 100])
def test_the_running_percentile_equals_numpys(percentile):
    clipping = built(percentile, "percentile")
    norms = np.random.default_rng(1).lognormal(size=130)
    clipped_steps = 0
    for step, norm in enumerate(norms):
        (clipped,) = clipping([tf.constant([norm], tf.float32)], tf.ones(()))
        limit = np.inf
        if step >= 10:
            latest = norms[max(0, step - 100) : step]
            limit = np.percentile(latest, percentile, method="inverted_cdf")
        assert float(clipped[0]) == pytest.approx(min(norm, limit), rel=1e-5)
        clipped_steps += norm > limit
        assert clipping.get_state()["clipped"] == clipped_steps


def test_a_resumed_run_keeps_the_latest_norms():
    stopped = GradientClipping(50, by="percentile")
    resumed = GradientClipping(50, by="percentile")
    linear(keras.optimizers.SGD(0.01)).fit(
        X, Y, batch_size=2, epochs=4, verbose=0, callbacks=[stopped]
    )
    set_up = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: resumed.set_state(stopped.get_state())
    )
    linear(keras.optimizers.SGD(0.01)).fit(
        X, Y, batch_size=8, verbose=0, callbacks=[resumed, set_up]
    )
    kept, more = (clipping.get_state()["latest"][0] for clipping in (stopped, resumed))
    assert np.isfinite(kept).sum() == 16
    np.testing.assert_array_equal(more[:-1], kept[1:])


def test_ranks_are_those_of_whole_numbers():
    counts = range(10, 101)
    for halves in range(1, 201):
        places = nearest_rank(halves / 2, tf.constant(list(counts)))
        assert places.numpy().tolist() == [
            math.ceil(Fraction(halves, 200) * count) - 1 for count in counts
        ]


def test_the_running_percentile_is_of_that_rank():
    latest = built(72, "percentile").latest
    latest.assign([math.inf] * 25 + [float(place) for place in range(75)])
    assert float(latest.percentile(72)) == 53  # 72 % of 75 are 54, the last of which has place 53


def test_a_norm_that_is_not_finite_leaves_the_percentile_alone():
    clipping = built(50, "percentile")
    for value in [1.0] * 10 + [math.inf, math.nan]:
        clipping([tf.constant([value])], tf.ones(()))
    assert float(clipping.latest.percentile(50)) == 1.0


def test_a_step_of_ones_own_clips_and_logs():
    clipping = built(1.0, "norm")
    log = ClippingLog(clipping)
    log.on_train_begin()
    clip = tf.function(lambda value: clipping([tf.stack([value])], tf.constant(2.0)))
    for value, expected in [(6.0, 2.0), (1.0, 1.0), (math.inf, math.nan)]:
        np.testing.assert_allclose(clip(tf.constant(value)), [[expected]])
    figures = {}
    log.on_epoch_end(0, figures)
    assert figures == {"gradient_norm": 1.75, "clipped_steps": 0.5}
    log.on_epoch_end(1, figures)
    assert figures == {"gradient_norm": math.inf, "clipped_steps": 0.0}
    np.testing.assert_array_equal(log.latest_norms(), [3.0, 0.5])
    log.on_train_begin()
    assert len(log.latest_norms()) == 0


@pytest.mark.parametrize("by", ["norm", "variable", "value"])
def test_one_infinite_value_spoils_all_gradients(by):
    gradients = [tf.constant([1.0]), tf.constant([math.inf])]
    clipped = Clipper(1.0, by).clip(gradients, tf.ones(()))
    assert np.isnan(np.concatenate(clipped.gradients)).all()


def test_a_norm_that_is_not_finite_spoils_the_gradient():
    assert math.isnan(clip_factor(tf.constant(math.inf), 1.0))
    assert math.isnan(clip_factor(tf.constant(math.nan), 1.0))


def test_rows_that_occur_twice_are_summed():
    twice = tf.IndexedSlices(
        tf.constant([[3.0], [1.0], [-3.0]]), tf.constant([2, 0, 2]), tf.constant([4, 1])
    )
    np.testing.assert_array_equal(dense(twice), [[1.0], [0.0], [0.0], [0.0]])
    assert global_norm([twice, tf.constant([2.0, 2.0])]) == 3.0


def test_float16_gradients_do_not_overflow_the_norm():
    assert global_norm([tf.fill([4], tf.constant(3e4, tf.float16))]).numpy() == pytest.approx(
        6e4, rel=1e-3
    )


def test_gradients_that_are_none_stay_none():
    model = linear(keras.optimizers.SGD(1.0))
    clipping = GradientClipping(1.0)
    clipping.set_model(model)
    clipping.on_train_begin()
    with pytest.warns(UserWarning, match="Gradients do not exist for variables"):
        model.optimizer.apply([None, tf.constant([4.0])], model.trainable_variables)
    np.testing.assert_array_equal(model.get_weights()[0], np.zeros((3, 1)))
    np.testing.assert_allclose(model.get_weights()[1], [-1.0])


def test_at_a_cliff_only_the_clipped_survives():
    """A linear unit over forty steps: the gradient grows as the fortieth power of its weight."""
    x = np.ones((600, 40, 1), "float32")
    y = np.full((600, 1), 0.5, "float32")
    losses = {}
    for name, watching in {"clipped": [GradientClipping(0.1)], "not": []}.items():
        model = keras.Sequential(
            [keras.Input((40, 1)), keras.layers.SimpleRNN(1, activation="linear", use_bias=False)]
        )
        model.set_weights([np.array([[0.1]]), np.array([[1.3]])])
        model.compile(keras.optimizers.SGD(0.05), "mse")
        before = model.evaluate(x[:1], y[:1], verbose=0)
        model.fit(x, y, batch_size=1, verbose=0, callbacks=watching)
        losses[name] = model.evaluate(x[:1], y[:1], verbose=0)
    assert before > 1e6
    assert losses["clipped"] < 0.01
    assert not np.isfinite(losses["not"])
