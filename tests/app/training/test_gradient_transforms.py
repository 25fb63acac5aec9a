"""Gradient transforms: their order, their arguments, and steps that are not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.gradient_transforms import apply_transforms
from epochal.app.training.step.objective import Objective
from epochal.callbacks.parts.clipping import Clipper

IMAGES = np.random.default_rng(5).normal(size=(7, 6)).astype(np.float32)
LABELS = np.array([0, 1, 2, 2, 1, 0, 2])


def test_transforms_follow_one_another_and_missing_gradients_stay_away() -> None:
    def add_scale(gradients: list[tf.Tensor], loss_scale: tf.Tensor) -> list[tf.Tensor]:
        return [gradient + loss_scale for gradient in gradients]

    def double(gradients: list[tf.Tensor], loss_scale: tf.Tensor) -> list[tf.Tensor]:
        return [2 * gradient for gradient in gradients]

    gradients = [tf.constant([1.0, 2.0]), None, tf.constant(5.0)]
    first, second, third = apply_transforms([add_scale, double], gradients, tf.constant(10.0))
    np.testing.assert_allclose(first, [22.0, 24.0])
    assert second is None
    assert float(third) == 30.0
    assert apply_transforms([], gradients, tf.constant(10.0)) == gradients


def test_rows_of_an_embedding_become_a_dense_gradient() -> None:
    rows = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([1, 1]), tf.constant([3, 1]))
    (dense,) = apply_transforms([lambda gradients, _: gradients], [rows], tf.constant(1.0))
    np.testing.assert_array_equal(dense, [[0.0], [3.0], [0.0]])


def clipped_classifier(clipper: Clipper) -> Classifier:
    """Return a linear classifier under a loss scale."""
    inputs = keras.Input((6,))
    logits = keras.layers.Dense(3, kernel_initializer="zeros")(inputs)
    clipper.build(tf.distribute.get_strategy())
    model = Classifier(
        keras.Model(inputs, logits), objective=Objective(), gradient_transforms=[clipper]
    )
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=8.0)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def train(model: Classifier, images: np.ndarray) -> None:
    data = tf.data.Dataset.from_tensors((images, LABELS))
    model.fit(data, verbose=0, shuffle=False)


def test_the_limit_is_without_the_loss_scale() -> None:
    clipper = Clipper(0.1)
    model = clipped_classifier(clipper)
    train(model, IMAGES)
    moved = np.sqrt(sum(np.sum(np.square(weight)) for weight in model.get_weights()))
    assert moved == pytest.approx(0.1, rel=1e-5)
    assert clipper.figures()["clipped_steps"] == 1.0
    assert clipper.figures()["gradient_norm"] > 0.1


def test_a_loss_scale_skips_a_step_whose_gradient_is_not_finite() -> None:
    clipper = Clipper(0.1)
    model = clipped_classifier(clipper)
    train(model, np.full_like(IMAGES, np.inf))
    for weight in model.get_weights():
        np.testing.assert_array_equal(weight, 0.0)
    assert float(model.optimizer.dynamic_scale) == 4.0
    assert int(model.optimizer.iterations) == 0
    assert clipper.figures() == {"gradient_norm": np.inf, "clipped_steps": 0.0}
