"""Noise of gradients: unbiased, and inversely proportional to the batch size."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.training.probes.gradient_noise import Noise, gradient_noise
from tests.support.zoo import build
from tests.support.zoo import images as pixels


def test_both_figures_are_unbiased() -> None:
    """Gradients of squared errors around a point: variance and signal are known."""
    random = np.random.default_rng(0)
    spread = np.array([1.0, 2.0, 0.5])
    at = np.array([0.3, -0.4, 0.0])
    estimates = []
    for _ in range(4000):
        gradients = at - (spread * random.normal(size=(4, 8, 3))).mean(axis=1)
        estimates.append(gradient_noise(gradients, size=8))
    variance = np.mean([noise.variance for noise in estimates])
    assert variance == pytest.approx(1 + 4 + 0.25, rel=0.02)
    assert np.mean([noise.signal for noise in estimates]) == pytest.approx(0.25, rel=0.05)


def test_the_batch_at_which_noise_equals_the_gradient() -> None:
    assert Noise(variance=8.0, signal=0.5).scale == 16
    assert Noise(variance=8.0, signal=-0.1).scale == math.inf


def test_one_batch_tells_nothing() -> None:
    with pytest.raises(ValueError, match="at least 2 batches, got 1"):
        gradient_noise([np.ones(3)], size=8)


def test_the_noise_of_a_batch_falls_as_one_over_its_size() -> None:
    """The slope on logarithmic axes is -1, for batches of 1 to 256 of 512 images of an MLP."""
    random = np.random.default_rng(0)
    model = build("lenet300", (4, 4, 1), 3)
    images = pixels((4, 4, 1), 512)
    labels = random.integers(0, 3, 512)

    @tf.function(reduce_retracing=True)
    def gradient(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
            )
        gradients = tape.gradient(loss, model.trainable_weights)
        return tf.concat([tf.reshape(part, [-1]) for part in gradients], 0)

    exact = gradient(images, labels).numpy()
    sizes = 4 ** np.arange(5)
    distances = []
    for size in sizes:
        drawn = [random.integers(0, 512, size) for _ in range(200)]
        distances.append(
            np.mean([np.sum((gradient(images[d], labels[d]).numpy() - exact) ** 2) for d in drawn])
        )
    slope = np.polyfit(np.log(sizes), np.log(distances), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)
    gradients = (gradient(images[d], labels[d]).numpy() for d in drawn)
    noise = gradient_noise(gradients, size=256)
    assert noise.variance == pytest.approx(distances[0], rel=0.15)
    assert noise.signal == pytest.approx(float(exact @ exact), rel=0.15)
