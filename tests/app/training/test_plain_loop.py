"""`fit` against a plain training loop that is written out step by step."""

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Config, Optim, Schedule
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.learning_rate import rate_callbacks

STEPS = 20
DROP = 10
RATE = 2.0**-8
MOMENTUM = 0.9
DECAY = 2.0**-8
CONFIG = Config(
    model="resnet8",
    batch_size=50,
    learning_rate=RATE,
    schedule=Schedule(shape="steps", unit="steps", milestones=[DROP]),
    optim=Optim(weight_decay=DECAY, options={"momentum": MOMENTUM}),
)


def prepared() -> Setup:
    setup = set_up(CONFIG)
    setup.batches.position.set(0)
    return setup


def by_fit() -> Setup:
    setup = prepared()
    rates = rate_callbacks(CONFIG, setup.batches.steps)
    everyone = Callbacks(rates, add_history=True, model=setup.model, epochs=1, steps=STEPS)
    batches = setup.batches.dataset().take(STEPS)
    setup.model.fit(batches, epochs=1, callbacks=everyone, verbose=0, shuffle=False)
    return setup


def by_hand() -> Setup:
    """Sample a batch, go forward and backward, join decay and momentum, take the step; repeat."""
    setup = prepared()
    weights = setup.model.trainable_weights
    moved = [np.zeros(weight.shape, np.float32) for weight in weights]
    for step, (images, labels) in enumerate(setup.batches.dataset().take(STEPS)):
        with tf.GradientTape() as tape:
            chosen = tf.nn.log_softmax(setup.model(images, training=True)) * tf.one_hot(labels, 10)
            loss = -tf.reduce_mean(tf.reduce_sum(chosen, axis=1))
        rate = RATE * (0.1 if step >= DROP else 1.0)
        for i, gradient in enumerate(tape.gradient(loss, weights)):
            decay = DECAY if weights[i].path.endswith("kernel") else 0.0
            moved[i] = MOMENTUM * moved[i] - rate * (gradient + decay * weights[i])
            weights[i].assign_add(moved[i])
    return setup


@pytest.mark.usefixtures("determinism_ends_here")
def test_both_end_at_the_same_weights() -> None:
    fitted = by_fit().model.weights
    expected = by_hand().model.weights
    start = set_up(CONFIG).model.weights
    for weight, other, before in zip(fitted, expected, start, strict=True):
        np.testing.assert_allclose(weight, other, rtol=0, atol=1e-6, err_msg=weight.path)
        assert np.abs(weight - before).max() > 1e-4
