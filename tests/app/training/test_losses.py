"""Losses by hand and against Keras, class weights, and micro-batches that add up to the batch."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.config import Objective as Settings
from epochal.app.config import Optim
from epochal.app.errors import UsageError
from epochal.app.training.optimizers.penalties import WeightPenalty
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.objective import (
    LOSSES,
    Objective,
    categorical_hinge,
    class_weights,
    cross_entropy,
    hinge,
    loss_of,
    squared_error,
    weighted_share,
)
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.mean_only import MeanOnlyBatchNormalization

LABELS = np.array([2, 0, 1, 1])
LOGITS = np.array(
    [[0.5, -1.0, 2.0], [0.2, 0.9, -0.4], [3.0, 1.0, 1.0], [-5.0, 0.0, -5.0]], np.float32
)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def test_hinge_sums_over_the_wrong_classes_and_keras_form_takes_the_worst() -> None:
    # Sample 0: margins 0.5 - 2 + 1 < 0 and -1 - 2 + 1 < 0.
    # Sample 1: 0.9 - 0.2 + 1 and -0.4 - 0.2 + 1.
    np.testing.assert_allclose(hinge(LABELS, LOGITS), [0, 1.7 + 0.4, 3.0 + 1.0, 0], rtol=1e-6)
    np.testing.assert_allclose(categorical_hinge(LABELS, LOGITS), [0, 1.7, 3.0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("ours", "stock"),
    [
        (squared_error, keras.losses.mean_squared_error),
        (
            loss_of(Settings(label_smoothing=0.1)),
            lambda t, s: keras.losses.categorical_crossentropy(
                t, s, from_logits=True, label_smoothing=0.1
            ),
        ),
        (cross_entropy, lambda t, s: keras.losses.categorical_crossentropy(t, s, from_logits=True)),
    ],
    ids=["squared error", "smoothed", "cross-entropy"],
)
def test_equals_keras(ours: Any, stock: Any) -> None:
    np.testing.assert_allclose(ours(LABELS, LOGITS), stock(ONE_HOT, LOGITS), rtol=1e-5)


def test_keras_counts_the_right_class_as_a_wrong_one_with_score_0() -> None:
    stock = keras.losses.categorical_hinge(ONE_HOT, LOGITS)
    np.testing.assert_allclose(categorical_hinge(LABELS, LOGITS)[:3], stock[:3], rtol=1e-6)
    assert float(stock[3]) == 1.0  # its margin, 0 against -5, is met: no loss


def test_a_hinge_saturates_once_its_margin_is_met_and_cross_entropy_never() -> None:
    logits = tf.constant(LOGITS)
    for loss, saturates in ((hinge, True), (categorical_hinge, True), (cross_entropy, False)):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(LABELS, logits)
        gradient = tape.gradient(value, logits).numpy()
        assert (np.abs(gradient[[0, 3]]).max() == 0) == saturates
        assert np.abs(gradient[1]).max() > 0


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    labels = np.repeat([0, 1, 2], [10, 30, 60])
    weights = class_weights(Settings(class_weights="balanced"), ("a", "b", "c"), labels)
    np.testing.assert_allclose(weights * np.bincount(labels), [100 / 3] * 3, rtol=1e-6)
    assert class_weights(Settings(), ("a", "b", "c"), labels) is None


COUNTS = np.array([5, 300, 7000])


@pytest.mark.parametrize("chosen", ["balanced", "effective_number", "square_root"])
def test_named_weights_average_1_over_images_and_are_as_published(chosen: str) -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    weights = class_weights(Settings(class_weights=chosen), ("a", "b", "c"), labels)
    assert weights[labels].mean() == pytest.approx(1, rel=1e-5)
    # Cui et al. 2019, eq. 2: the effective number of n images is 1 + 0.999 + ... + 0.999^(n-1).
    effective = np.array([np.sum(0.999 ** np.arange(count)) for count in COUNTS])
    expected = {
        "balanced": COUNTS[1] / COUNTS,
        "effective_number": effective[1] / effective,
        "square_root": np.sqrt(COUNTS[1] / COUNTS),
    }
    np.testing.assert_allclose(weights / weights[1], expected[chosen], rtol=1e-5)


def test_the_worth_of_weighted_images_is_that_of_as_many_equal_ones() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    assert weighted_share(np.ones(3), labels) == pytest.approx(1)
    # Only 5 of 7,305 images count.
    assert weighted_share(np.array([9.0, 0, 0]), labels) == pytest.approx(5 / 7305)
    # The variance of a mean of normal losses is what Kish's formula says, by simulation.
    weights = class_weights(Settings(class_weights="square_root"), ("a", "b", "c"), labels)
    random = np.random.default_rng(0)
    means = []
    for _ in range(4000):
        drawn = random.choice(labels, 64)
        means.append(np.mean(weights[drawn] * random.normal(size=64)))
    assert 1 / (64 * np.var(means)) == pytest.approx(weighted_share(weights, labels), rel=0.2)


def test_weights_by_name_leave_the_others_alone() -> None:
    weights = class_weights(Settings(class_weights={"cat": 2.5}), ("ape", "cat"), LABELS)
    np.testing.assert_array_equal(weights, [1.0, 2.5])
    with pytest.raises(UsageError, match="no class 'cow'; the classes are ape, cat"):
        class_weights(Settings(class_weights={"cow": 2.0}), ("ape", "cat"), LABELS)


IMAGES = np.random.default_rng(5).normal(size=(7, 6)).astype(np.float32)
TARGETS = np.array([0, 1, 2, 2, 1, 0, 2])


def train(
    steps: int = 2, micro_batches: int = 1, **objective: Any
) -> tuple[list[np.ndarray], dict[str, float]]:
    """Return weights and figures after some steps of a small network with weight decay."""
    keras.utils.set_random_seed(2)
    x = inputs = keras.Input((6,))
    for units, activation in ((5, "tanh"), (3, None)):
        x = keras.layers.Dense(units, activation)(x)
    model = Classifier(
        keras.Model(inputs, x),
        objective=Objective(penalty=WeightPenalty(decay=0.1), **objective),
        micro_batches=micro_batches,
    )
    model.compile(keras.optimizers.SGD(0.5, momentum=0.9), "sparse_categorical_crossentropy")
    data = tf.data.Dataset.from_tensors((IMAGES, TARGETS)).repeat(steps)
    history = model.fit(data, epochs=1, verbose=0, shuffle=False)
    return model.get_weights(), {key: values[0] for key, values in history.history.items()}


@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize(
    "weights", [None, np.array([1.0, 2.0, 0.5], np.float32)], ids=["alike", "weighed"]
)
def test_micro_batches_add_up_to_the_batch(parts: int, weights: np.ndarray | None) -> None:
    at_once, figures = train(class_weights=weights)
    in_parts, figures_in_parts = train(class_weights=weights, micro_batches=parts)
    for left, right in zip(at_once, in_parts, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-6)
    assert figures_in_parts == pytest.approx(figures, rel=1e-5)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_every_image_weighs_the_same_in_an_epoch_of_unequal_batches(micro_batches: int) -> None:
    """A step at a rate of 1 is a batch's sum of gradients over the images of the largest batch."""
    inputs = keras.Input((6,))
    logits = keras.layers.Dense(3, kernel_initializer="zeros", use_bias=False)(inputs)
    model = Classifier(
        keras.Model(inputs, logits),
        objective=Objective(full_batch=4),
        micro_batches=micro_batches,
    )
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    batch = tf.data.Dataset.from_tensors((IMAGES[:3], TARGETS[:3]))
    loss = model.fit(batch, verbose=0, shuffle=False).history["loss"]
    residual = 1 / 3 - np.eye(3)[TARGETS[:3]]
    np.testing.assert_allclose(model.get_weights()[0], -IMAGES[:3].T @ residual / 4, atol=1e-6)
    assert loss == pytest.approx([np.log(3)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [FusedBatchNormalization, MeanOnlyBatchNormalization])
def test_micro_batches_without_images_change_nothing(norm: Any, dtype: str) -> None:
    results = []
    for parts in (7, 9):  # of seven images: one each, and two parts have none
        keras.utils.set_random_seed(2)
        x = inputs = keras.Input((4, 4, 3), dtype="uint8")
        x = keras.layers.Conv2D(5, 3, dtype=dtype)(keras.layers.Rescaling(1 / 255, dtype=dtype)(x))
        x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(norm(dtype=dtype)(x))
        x = PerSampleDropout(0.5, seed=1, dtype=dtype)(x)
        model = Classifier(keras.Model(inputs, x), objective=Objective(), micro_batches=parts)
        model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
        images = np.random.default_rng(5).integers(0, 256, (7, 4, 4, 3), np.uint8)
        figures = model.fit(
            tf.data.Dataset.from_tensors((images, TARGETS)), verbose=0, shuffle=False
        ).history
        results.append([*model.get_weights(), *figures["loss"]])
    for left, right in zip(*results, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-6)


def test_weights_are_those_of_the_gradient_and_not_of_the_logged_loss() -> None:
    weights = np.array([2.0, 1.0, 0.5], np.float32)
    inputs = keras.Input((6,))
    logits = keras.layers.Dense(3, kernel_initializer="zeros")(inputs)
    model = Classifier(keras.Model(inputs, logits), objective=Objective(class_weights=weights))
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    history = model.fit(
        tf.data.Dataset.from_tensors((IMAGES, TARGETS)), verbose=0, shuffle=False
    ).history
    residual = weights[TARGETS][:, None] * (1 / 3 - np.eye(3)[TARGETS])
    np.testing.assert_allclose(model.get_weights()[0], -IMAGES.T @ residual / 7, atol=1e-6)
    assert history["loss"] == pytest.approx([np.log(3)])


@pytest.mark.parametrize("name", LOSSES)
def test_callbacks_differentiate_the_loss_that_is_trained(name: str) -> None:
    weights = np.array([2.0, 1.0, 0.5], np.float32)
    inputs = keras.Input((6,))
    objective = Objective(
        loss=LOSSES[name], class_weights=weights, penalty=WeightPenalty(decay=0.1, l1=0.2)
    )
    model = Classifier(keras.Model(inputs, keras.layers.Dense(3)(inputs)), objective=objective)
    logits = model(IMAGES)
    labels = tf.constant(TARGETS)
    data_loss = np.mean(LOSSES[name](TARGETS, logits).numpy() * weights[TARGETS])
    kernel = model.get_weights()[0]
    penalty = 0.05 * np.sum(np.square(kernel)) + 0.2 * np.sum(np.abs(kernel))
    assert float(model.data_loss(labels, logits)) == pytest.approx(data_loss, rel=1e-5)
    loss = model.compute_loss(x=IMAGES, y=labels, y_pred=logits)
    assert float(loss) == pytest.approx(data_loss + penalty, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_falls(name: str) -> None:
    _, first = train(loss=LOSSES[name], steps=1)
    _, mean = train(loss=LOSSES[name], steps=40)
    assert mean["loss"] < 0.9 * first["loss"]


def test_what_is_no_objective_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"objective.loss must be cross_entropy for smoothing, got 'hinge'"
    ):
        Settings(loss="hinge", label_smoothing=0.1)
    with pytest.raises(ValueError, match="micro_batches must be from 1 to 64, got 0"):
        Optim(micro_batches=0)
