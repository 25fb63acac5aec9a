"""Central differences: the tape's gradient against numeric derivatives, in float64."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.doctor.finding import Finding, error, ok, skipped
from epochal.app.doctor.model_copy import copy_model
from epochal.app.doctor.sample_images import draw_images
from epochal.app.streams import generator
from epochal.app.training.run.setup import Setup

_IMAGES = 8
_DIRECTIONS = 3
_COORDINATES = 12
_CANDIDATES = 32  # for each coordinate, of which the one with the largest gradient is taken
# Changes of a weight. The smaller, the fewer kinks lie within, and the more rounding shows.
_STEPS = (1e-5, 1e-6, 1e-7)
_RELATIVE_ERROR = 1e-6  # of a gradient that is right
_JITTER = 1e-2  # added to weights, for those that start at 0 put whole layers on a kink
_ROUNDINGS = 100  # in the last place of the loss

Moves = dict[int, np.ndarray]  # from a weight's position in the list to its change


def check_differences(setup: Setup) -> Finding:
    """Check that `(L(w + h v) - L(w - h v)) / 2h` equals `gradient . v`.

    The vector `v` is a random direction or a coordinate.
    Nothing is dropped, and batch norm takes its statistics from the batch as in training.
    Differences of several step sizes `h` that disagree, as they do across a kink, do not count.
    """
    random = generator(setup.config.seed, "doctor differences")
    images, labels = draw_images(setup, _IMAGES)
    model = copy_model(setup, "float64")
    weights = model.trainable_weights
    for weight in weights:
        weight.assign_add(_JITTER * random.standard_normal(weight.shape))

    def mean_loss() -> tf.Tensor:
        return model.objective.mean_loss(labels, model(images, training=True))

    loss = tf.function(mean_loss)
    gradients = _compute_gradients(loss, weights)
    slope = Slope(lambda: float(loss()), weights)
    num_probed = 0
    num_judged = 0
    wrong = []
    for name, moves in _draw_moves(weights, gradients, random):
        analytic = _project(gradients, moves)
        verdict, numeric = slope.compare(moves, analytic)
        num_probed += 1
        if verdict is not None:
            num_judged += 1
        if verdict is False:
            wrong.append(f"{name}: gradient {analytic:.8g}, differences {numeric:.8g}")
    if wrong:
        return error(
            f"{len(wrong)} of {num_judged} differ, first {wrong[0]}; look at custom gradients"
        )
    if num_judged == 0:
        return skipped(f"all {num_probed} directions and coordinates lie at kinks or are flat")
    return ok(
        f"agree along {num_judged} of {num_probed} directions and coordinates; "
        "the others lie at kinks or are flat"
    )


class Slope:
    """Numeric derivatives of a loss along changes of its weights.

    Args:
        loss: returns the loss of the weights as they are
        weights: that are moved, and put back
    """

    def __init__(self, loss: Callable[[], float], weights: list[Any]) -> None:
        self._loss = loss
        self._weights = weights

    def compare(self, moves: Moves, analytic: float) -> tuple[bool | None, float]:
        """Return whether the numeric derivative equals `analytic`, and the numeric one.

        The verdict is None where differences cannot tell.
        """
        epsilon = np.finfo(np.float64).eps
        rounding = _ROUNDINGS * epsilon * abs(self._loss())
        slopes: list[float] = []
        for step in _STEPS:
            numeric = self._difference(moves, step)
            tolerance = _RELATIVE_ERROR * (abs(numeric) + abs(analytic))
            agrees = abs(numeric - analytic) <= tolerance
            if agrees and abs(numeric) > rounding / step:
                return True, numeric
            slopes.append(numeric)
        # The two neighbouring step sizes that agree best tell how sure the numeric slope is.
        smallest_gap = math.inf
        uncertainty = math.inf
        for position in range(1, len(_STEPS)):
            gap = abs(slopes[position] - slopes[position - 1])
            if gap <= smallest_gap:
                smallest_gap = gap
                numeric = slopes[position]
                uncertainty = gap + rounding / _STEPS[position]
        distance = min(abs(slope - analytic) for slope in slopes)
        if distance > 10 * uncertainty:
            return False, numeric
        return None, numeric

    def _difference(self, moves: Moves, step: float) -> float:
        start = {position: self._weights[position].numpy() for position in moves}
        self._shift(start, moves, step)
        ahead = self._loss()
        self._shift(start, moves, -step)
        behind = self._loss()
        for position, value in start.items():
            self._weights[position].assign(value)
        return (ahead - behind) / (2 * step)

    def _shift(self, start: Moves, moves: Moves, step: float) -> None:
        for position, move in moves.items():
            weight = self._weights[position]
            weight.assign(start[position] + step * move)


def _compute_gradients(loss: Any, weights: list[Any]) -> list[np.ndarray]:
    variables = [weight.value for weight in weights]
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(
        value,
        variables,
        unconnected_gradients="zero",
    )
    return [gradient.numpy() for gradient in gradients]


def _project(gradients: list[np.ndarray], moves: Moves) -> float:
    """Return the derivative of the loss along the moves."""
    total = 0.0
    for position, move in moves.items():
        total += float(np.vdot(gradients[position], move))
    return total


def _draw_moves(
    weights: list[Any], gradients: list[np.ndarray], random: np.random.Generator
) -> Iterator[tuple[str, Moves]]:
    """Yield names and moves: first directions, then single coordinates.

    In a direction every weight moves, half at random and half uphill.
    """
    for number in range(1, _DIRECTIONS + 1):
        direction = {}
        for position, gradient in enumerate(gradients):
            noise = random.standard_normal(gradient.shape)
            uphill = _normalize(gradient)
            direction[position] = uphill + _normalize(noise)
        yield f"direction {number}", direction
    for _ in range(_COORDINATES):
        position = int(random.integers(len(weights)))
        gradient = gradients[position]
        candidates = random.integers(gradient.size, size=_CANDIDATES)
        steepness = np.abs(gradient.flat[candidates])
        coordinate = candidates[np.argmax(steepness)]
        move = np.zeros_like(gradient)
        move.flat[coordinate] = 1.0
        path = weights[position].path
        yield f"{path}[{coordinate}]", {position: move}


def _normalize(vector: np.ndarray) -> np.ndarray:
    """Return the vector at length 1; zeros stay zeros."""
    length = math.sqrt(float(np.sum(vector**2)))
    if length == 0:
        return vector
    return vector / length
