"""Dropout independent of the number of devices: laws of the mask, its state, its gradient."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.models.layers.dropout import PerSampleDropout, rows_of_uniform

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
DTYPES = ("float32", "bfloat16", "float16", "float64")


def uniform(shape, *, seed=7, call=0, first_row=0):
    numbers = rows_of_uniform(
        tf.constant(shape, tf.int64),
        seed=tf.constant(seed, tf.int64),
        call=tf.constant(call, tf.int64),
        first_row=tf.constant(first_row, tf.int64),
    )
    return numbers.numpy()


@given(
    rows=st.integers(1, 12),
    row=st.lists(st.integers(1, 7), max_size=3),
    cut=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    call=st.integers(0, 2**40),
)
@settings(max_examples=40)
def test_any_part_of_the_batch_draws_what_the_whole_draws(rows, row, cut, call):
    first, last = sorted(min(edge, rows) for edge in cut)
    whole = uniform([rows, *row], call=call)
    part = uniform([last - first, *row], call=call, first_row=first)
    np.testing.assert_array_equal(part, whole[first:last])


def test_no_number_is_drawn_twice():
    draws = [uniform([50, 7], seed=seed, call=call) for seed in (0, 1) for call in (0, 1)]
    numbers = np.concatenate(draws).ravel()
    # 1,400 draws of 2**23 values: 0.1 pairs expected
    assert len(np.unique(numbers)) >= numbers.size - 3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_keeps_its_share_and_the_mean(rate):
    layer = PerSampleDropout(rate, seed=1)
    outputs = layer(np.ones((250, 401), np.float32), training=True).numpy()
    kept = outputs > 0
    sigma = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs(np.mean(kept) - (1 - rate)) < 3 * sigma
    np.testing.assert_allclose(outputs[kept], 1 / (1 - rate), rtol=1e-6)


def test_dropout_is_the_identity_outside_training_and_counts_only_training_calls():
    layer = PerSampleDropout(0.5, seed=1)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(layer(x), x)
    np.testing.assert_array_equal(layer(x, training=False), x)
    layer(x, training=True)
    np.testing.assert_array_equal(layer.variables[0], [1, 1])


def test_dropout_of_nothing_needs_no_state():
    layer = PerSampleDropout(0.0)
    np.testing.assert_array_equal(layer(IMAGES, training=True), IMAGES)
    assert layer.variables == []


def test_dropout_drops_even_what_is_not_finite():
    result = PerSampleDropout(0.5, seed=1)(
        np.full((10, 10), np.inf, np.float32), training=True
    ).numpy()
    assert set(np.unique(result)) == {0.0, np.inf}


def test_gradient_follows_the_forward_pattern():
    layer = PerSampleDropout(0.3, seed=5)
    x = tf.Variable(tf.ones((6, 11)))
    with tf.GradientTape() as tape:
        y = layer(x, training=True)
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_state_brings_the_same_masks_back_in_a_graph_too():
    layer = PerSampleDropout(0.5, seed=5)
    x = tf.ones((4, 9))
    first, second = (layer(x, training=True).numpy() for _ in range(2))
    assert (first != second).any()
    layer.variables[0].assign([5, 0])
    graph = tf.function(lambda x: layer(x, training=True))
    np.testing.assert_array_equal(graph(x), first)
    np.testing.assert_array_equal(graph(x), second)


def test_the_mask_does_not_depend_on_the_precision():
    masks = [
        PerSampleDropout(0.5, seed=5, dtype=dtype)(tf.ones((4, 9)), training=True)
        for dtype in DTYPES
    ]
    for mask, dtype in zip(masks, DTYPES, strict=True):
        assert mask.dtype == dtype
        np.testing.assert_array_equal(tf.cast(mask, "float32"), tf.cast(masks[0], "float32"))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_dropout_refuses_impossible_rates(rate):
    with pytest.raises(ValueError, match=f"below 1, got {rate}"):
        PerSampleDropout(rate)


REPLICAS = """
    import sys
    import numpy as np, tensorflow as tf
    cpu, replicas = tf.config.list_physical_devices("CPU")[0], int(sys.argv[1])
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, devices)
    import keras
    from epochal import models
    from epochal.models.layers.dropout import PerSampleDropout

    sizes, x = [3, 1, 0, 4], np.ones((8, 5), np.float32)
    sizes = sizes if replicas == 4 else [5, 3]
    alone = PerSampleDropout(0.5, seed=9)
    expected = [alone(x, training=True).numpy() for _ in range(2)]

    strategy = tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(replicas)])
    with strategy.scope():
        layer = PerSampleDropout(0.5, seed=9)
        layer.build(x.shape)
        norms = [y for y in models.build("resnet8", (8, 8, 1), 10).layers if "bn" in y.name]
    parts = tf.split(x, sizes)
    local = strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group]
    )
    step = tf.function(lambda x: strategy.run(lambda x: layer(x, training=True), (x,)))
    for mask in expected:
        drawn = np.concatenate(strategy.experimental_local_results(step(local)))
        np.testing.assert_array_equal(drawn, mask)
    for state in strategy.experimental_local_results(layer.generator.state.value):
        np.testing.assert_array_equal(state, [9, 2])
    assert norms and all(norm.synchronized for norm in norms)
"""


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_draw_the_masks_of_one_device(replicas):
    command = [sys.executable, "-c", textwrap.dedent(REPLICAS), str(replicas)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert result.returncode == 0, result.stderr[-2000:]
