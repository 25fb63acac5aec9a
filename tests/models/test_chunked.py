"""Inverted residuals in chunks: the same answers, less memory."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from epochal.models.chunked import chunk_expansions
from epochal.models.fold_batch_norm import fold_batch_norm
from epochal.models.layers.sequential_sum import SumInTurn
from tests.support.paths import ROOT
from tests.support.tensors import normal, randomized, saved_and_loaded
from tests.support.zoo import build, images, shapes


def chunked(model):
    return [layer for layer in model.layers if isinstance(layer, SumInTurn)]


def block(image, *, project="linear", multiplier=1):
    """An inverted residual by hand."""
    x = layers.Conv2D(12, 1, name="expand", activation="relu6")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=multiplier, padding="same", activation="relu6")(
        x
    )
    return layers.Conv2D(5, 1, activation=project, name="project")(x)


@pytest.mark.parametrize("chunks", [2, 6, 7])
@pytest.mark.parametrize(
    "name", ["mobilenet_v2_cifar", pytest.param("mobilenet_v2", marks=pytest.mark.slow)]
)
def test_answers_are_those_of_the_whole(name, chunks):
    folded = fold_batch_norm(build(name))
    random = np.random.default_rng(0)  # biases, too, so that one counted twice would show
    folded.set_weights(
        [weight + 0.05 * random.normal(size=weight.shape) for weight in folded.get_weights()]
    )
    expected = folded(images(shapes(name)[0])).numpy()
    model = chunk_expansions(folded, chunks)
    assert len(chunked(model)) == 16
    assert all(len(layer.terms) == chunks for layer in chunked(model))
    assert np.std(expected) > 0
    np.testing.assert_allclose(
        model(images(shapes(name)[0])), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


def test_is_saved_and_loaded(tmp_path):
    image = keras.Input((6, 6, 3))
    model = chunk_expansions(randomized(keras.Model(image, block(image))), 3)
    assert len(chunked(model)) == 1
    x = normal(2, 6, 6, 3)
    np.testing.assert_array_equal(saved_and_loaded(model, tmp_path)(x), model(x))


@pytest.mark.parametrize("options", [{"project": "relu"}, {"multiplier": 2}], ids=str)
def test_what_is_no_such_block_stays(options):
    image = keras.Input((6, 6, 3))
    assert not chunked(chunk_expansions(keras.Model(image, block(image, **options)), 2))


def test_a_resnet_stays_as_it_is():
    assert not chunked(chunk_expansions(fold_batch_norm(build("resnet8")), 2))


def test_what_others_read_stays_whole():
    image = keras.Input((6, 6, 3))
    whole = keras.Model(image, block(image))
    both = keras.Model(image, [whole.get_layer("expand").output, whole.output])
    assert not chunked(chunk_expansions(both, 2))


def test_one_chunk_is_refused():
    with pytest.raises(ValueError, match="at least 2, got 1"):
        chunk_expansions(build("lenet5"), 1)


_PEAK = """
import resource, statistics, sys, time
import tensorflow as tf
from epochal import models
from epochal.models.chunked import chunk_expansions
from epochal.models.fold_batch_norm import fold_batch_norm

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def median_seconds(batch):
    times = []
    for _ in range(10):
        start = time.monotonic()
        answer(tf.zeros((batch, 224, 224, 3), tf.uint8))
        times.append(time.monotonic() - start)
    return statistics.median(times)

chunks = int(sys.argv[1])
model = fold_batch_norm(models.build("mobilenet_v2", (224, 224, 3), 10))
if chunks:
    model = chunk_expansions(model, chunks)
answer = tf.function(lambda x: model(x, training=False))
answer(tf.zeros((1, 224, 224, 3), tf.uint8))
before = peak()
single = median_seconds(1)
batch = median_seconds(64)
print(peak() - before, single, batch)
"""


@pytest.mark.slow
def test_peak_of_memory():
    """Chunked inverted blocks need less than their full expansions, each in its process."""
    figures = []
    for chunks in (0, 6):
        command = [sys.executable, "-c", _PEAK, str(chunks)]
        finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr[-2000:]
        figures.append(np.array(finished.stdout.split(), float))
    full, chunked_ = figures
    memory, single, batch = chunked_ / full
    print(f"six chunks: {memory:.2f} of the memory, {single:.2f} times as long for one image, ")
    print(f"{batch:.2f} times for 64")
    assert memory < 0.6
