"""The fused update against Keras' own, to the bit, and against the written-out rule."""

from typing import Any

import keras
import numpy as np
import pytest

from app.training.sgd import SGD

FORMS = [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]
pytestmark = pytest.mark.parametrize("form", FORMS, ids=["plain", "momentum", "nesterov"])


def _trained(kind: Any, form: dict[str, Any]) -> list[np.ndarray]:
    """Weights and optimizer state after twenty steps."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(3)])
    model.compile(kind(0.1, **form), "mse")
    random = np.random.default_rng(1)
    model.fit(random.normal(size=(64, 5)), random.normal(size=(64, 3)), epochs=5, batch_size=16, verbose=0)
    return [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]


def test_equals_keras_to_the_bit(form: dict[str, Any]) -> None:
    for ours, stock in zip(_trained(SGD, form), _trained(keras.optimizers.SGD, form), strict=True):
        np.testing.assert_array_equal(ours, stock)


def test_equals_the_rule_in_float64(form: dict[str, Any]) -> None:
    random = np.random.default_rng(2)
    weight = keras.Variable(random.normal(size=4), dtype="float64")
    expected, velocity = weight.numpy(), np.zeros(4)
    optimizer = SGD(0.1, **form)
    for gradient in random.normal(size=(10, 4)):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float64")], [weight])
        velocity = form.get("momentum", 0.0) * velocity - 0.1 * gradient
        expected += form["momentum"] * velocity - 0.1 * gradient if form.get("nesterov") else velocity
    np.testing.assert_allclose(weight.numpy(), expected, atol=1e-7)  # Keras keeps the rate in float32
