"""Gradient descent on quadratics, whose course their curvature tells to the step."""

import itertools
import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.optimizers.sgd import SGD
from epochal.app.training.probes.curvature import diagonal_part, largest_curvature, suggest_rate
from epochal.callbacks import schedules


def steps_to(
    curvatures: list[float], optimizer: Any, start: tuple[float, ...] = (10.0, 1.0)
) -> float:
    """Return the steps until the weights are within 1e-6 of the minimum; infinity if never."""
    weight = keras.Variable(start, dtype="float64")
    optimizer.build([weight])
    bend = tf.constant(curvatures, tf.float64)

    @tf.function
    def step() -> Any:
        optimizer.apply([bend * weight.value], [weight])
        return tf.norm(weight.value)

    for count in range(1, 10_000):
        distance = float(step())
        if distance < 1e-6:
            return count
        if distance > 1e6:
            return math.inf
    raise AssertionError(f"neither converged nor diverged: {distance}")


def heavy_ball(condition: float) -> SGD:
    """Polyak's best rate and momentum for curvatures from 1 to `condition`."""
    root = math.sqrt(condition)
    return SGD((2 / (root + 1)) ** 2, momentum=((root - 1) / (root + 1)) ** 2)


@pytest.mark.parametrize(
    ("condition", "descent", "momentum"),
    [(5, 40, 20), (100, 807, 97), pytest.param(1000, 8062, 321, marks=pytest.mark.slow)],
)
def test_steps_grow_with_the_condition_number_and_with_momentum_its_root(
    condition: int, descent: int, momentum: int
) -> None:
    assert steps_to([1, condition], SGD(2 / (1 + condition))) == descent
    assert steps_to([1, condition], heavy_ball(condition)) == momentum


def test_two_over_the_curvature_is_the_limit_of_stability() -> None:
    assert steps_to([1, 5], SGD(0.39)) < math.inf
    assert steps_to([1, 5], SGD(0.41)) == math.inf


@pytest.mark.parametrize(("rate", "overshoots"), [(0.19, False), (0.39, True)])
def test_above_one_over_the_curvature_it_overshoots(rate: float, overshoots: bool) -> None:
    optimizer = SGD(rate)
    weight = keras.Variable(10.0, dtype="float64")
    optimizer.build([weight])
    optimizer.apply([5.0 * weight.value], [weight])
    assert (float(weight.value) < 0) == overshoots


@pytest.mark.parametrize(
    ("rate", "momentum", "stable"), [(0.41, 0.0, False), (0.41, 0.5, True), (0.59, 0.5, True)]
)
def test_momentum_moves_the_limit(rate: float, momentum: float, stable: bool) -> None:
    assert (steps_to([5.0], SGD(rate, momentum=momentum), (10.0,)) < math.inf) == stable


def test_beyond_it_momentum_diverges_too() -> None:
    assert steps_to([5.0], SGD(0.61, momentum=0.5), (10.0,)) == math.inf


@pytest.mark.parametrize(
    ("factor", "signs", "converges"),
    [(0.5, {1.0}, True), (1.5, {1.0, -1.0}, True), (2.5, {1.0, -1.0}, False)],
    ids=["monotone", "oscillating", "diverging"],
)
def test_regimes_of_the_rate_in_one_dimension(
    factor: float, signs: set[float], converges: bool
) -> None:
    weight = tf.Variable(1.0, dtype=tf.float64)
    bend = largest_curvature(lambda: 2 * weight**2, [weight])
    optimizer = SGD(factor * suggest_rate(bend))
    course = []
    optimizer.build([variable := keras.Variable(1.0, dtype="float64")])
    for _ in range(40):
        optimizer.apply([4.0 * variable.value], [variable])
        course.append(float(variable.value))
    assert set(np.sign(course)) == signs
    assert (abs(course[-1]) < 1e-6) == converges


def test_one_step_at_the_suggested_rate_is_enough() -> None:
    assert steps_to([4.0], SGD(suggest_rate(4.0)), (10.0,)) == 1


def test_power_iteration_finds_the_largest_eigenvalue() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(12, 12))
    matrix = matrix @ matrix.T
    weight = tf.Variable(random.normal(size=12))
    curvature = largest_curvature(
        lambda: tf.tensordot(weight, tf.linalg.matvec(matrix, weight), 1) / 2,
        [weight],
        iterations=500,
        tolerance=1e-9,
    )
    assert curvature == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-5)


def test_the_diagonal_of_the_hessian_is_the_mean_over_signs() -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(5, 5))
    matrix += matrix.T
    weight = tf.Variable(random.normal(size=5))

    def loss() -> tf.Tensor:
        return tf.tensordot(weight, tf.linalg.matvec(matrix, weight), 1) / 2

    # The mean over all signs is no estimate.
    all_signs = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    parts = [diagonal_part(loss, [weight], [tf.constant(signs)])[0] for signs in all_signs]
    np.testing.assert_allclose(np.mean(parts, axis=0), np.diag(matrix), atol=1e-12)


def test_where_weights_do_not_interact_any_signs_give_the_diagonal() -> None:
    weight = tf.Variable([3.0, -2.0])
    (diagonal,) = diagonal_part(
        lambda: weight[0] ** 2 / 2 - 50 * weight[1] ** 2, [weight], [tf.constant([1.0, -1.0])]
    )
    np.testing.assert_allclose(diagonal, [1, -100])


@pytest.mark.parametrize("damping", [0.0, 0.02])
def test_rates_by_curvature_let_all_weights_converge_at_the_same_speed(damping: float) -> None:
    """Both coordinates of diag(1, 100) decay alike within 10 %; one rate needs 807 steps."""
    optimizer = DiagonalNewton(0.5, damping=damping)
    weight = keras.Variable([1.0, 1.0], dtype="float64")
    optimizer.build([weight])
    bend = np.array([1.0, 100.0])
    optimizer.take([weight], [bend])
    optimizer.apply([tf.constant(bend * weight.numpy())], [weight])
    flat, steep = -np.log(weight.numpy())
    assert flat == pytest.approx(steep, rel=0.1)
    if not damping:
        np.testing.assert_allclose(weight.numpy(), 0.5)


def test_the_limit_of_a_network_is_where_its_curvature_says() -> None:
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(1)
    x = tf.constant(random.normal(size=(64, 6)), tf.float32)
    y = tf.constant(random.integers(0, 3, 64))
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)]
    )

    weights = [weight.value for weight in model.trainable_weights]

    def loss() -> tf.Tensor:
        data = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
        return tf.reduce_mean(data) + 1e-2 * tf.add_n([tf.nn.l2_loss(weight) for weight in weights])

    _descend(loss, weights, 0.5, steps=1000)  # to where it is nearly quadratic
    limit = 2 * suggest_rate(largest_curvature(loss, weights))
    for weight in weights:
        weight.assign_add(tf.fill(weight.shape, 1e-3))
    beside = float(loss())
    first = [weight.numpy() for weight in weights]
    _descend(loss, weights, 0.5 * limit, steps=100)
    assert float(loss()) < beside
    for weight, value in zip(weights, first, strict=True):
        weight.assign(value)
    _descend(loss, weights, 2 * limit, steps=100)
    assert float(loss()) > 1.2 * beside


def _descend(loss: Any, weights: list[Any], rate: float, *, steps: int) -> None:
    """Takes steps of gradient descent."""

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            value = loss()
        for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
            weight.assign_sub(rate * gradient)

    for _ in range(steps):
        step()


def test_a_loss_that_bends_down_has_no_best_rate() -> None:
    weight = tf.Variable(0.0)
    curvature = largest_curvature(lambda: -(weight**2), [weight])
    assert curvature == pytest.approx(-2)
    with pytest.raises(ValueError, match="curvature above 0, got -2"):
        suggest_rate(curvature)


# schedules and momentum where the gradient is nearly nothing, or mostly noise


@pytest.mark.parametrize(
    ("optimizer", "share"),
    [
        (SGD(1.0, momentum=0.9), 0.1),
        (SGD(1.0, momentum=0.9, form="velocity"), 0.1),
        (SGD(1.0, momentum=0.9, form="averaging"), 1.0),
    ],
    ids=["heavy ball", "velocity", "averaging"],
)
def test_momentum_crosses_a_plateau_in_a_share_of_the_steps(optimizer: Any, share: float) -> None:
    """All but the averaging form, which gains nothing from a constant slope."""
    weight = keras.Variable([0.0], dtype="float64")
    slope = tf.constant([-1e-3], tf.float64)
    width = 0.5
    optimizer.build([weight])
    steps = 0
    while float(weight.value[0]) < width:
        optimizer.apply([slope], [weight])
        steps += 1
    plain = width / 1e-3
    assert steps == pytest.approx(
        share * plain + 9, abs=2
    )  # momentum is 1 / (1 - 0.9) - 1 steps late at first


def noisy_descent(shape: Any, steps: int) -> np.ndarray:
    """Return the mean square distance from the minimum of w^2 / 2, of 4,000 noisy walks."""
    random = np.random.default_rng(0)
    weights = np.full(4000, 3.0)
    apart = np.empty(steps)
    for step in range(steps):
        weights -= shape(step) * (weights + random.normal(size=len(weights)))
        apart[step] = (weights**2).mean()
    return apart


def test_a_rate_of_c_over_c_plus_t_goes_on_where_a_constant_one_has_its_floor() -> None:
    """The error falls as 1 / t; at a constant rate r it ends at r / (2 - r)."""
    falling = noisy_descent(lambda step: schedules.inverse(step, 2.0), 4000)
    constant = noisy_descent(lambda step: 0.2, 4000)
    assert falling[399] / falling[3999] == pytest.approx(10, rel=0.15)
    assert constant[3999] == pytest.approx(0.2 / 1.8, rel=0.1)
    assert falling[3999] < constant[3999] / 50


def test_the_loss_falls_right_after_a_step_of_the_rate() -> None:
    """The ball of noise around the minimum shrinks with the rate."""
    apart = noisy_descent(lambda step: 0.4 * schedules.stepped(step, [300], 0.1), 400)
    assert apart[299] == pytest.approx(0.4 / 1.6, rel=0.1)
    assert apart[340] < apart[299] / 5
