"""The tape's gradient against central differences, in float64 (row A15 of the lectures)."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.doctor.finding import Finding, error, ok, skipped
from epochal.app.doctor.model_copy import twin
from epochal.app.doctor.sample_images import some_images
from epochal.app.training.run.setup import Setup

_IMAGES = 8
_DIRECTIONS = 3
_COORDINATES = 12
_STEPS = (
    1e-5,
    1e-6,
    1e-7,
)  # of a weight; the smaller, the fewer kinks lie within and the more rounding shows
_RELATIVE = 1e-6  # error of a gradient that is right
_JITTER = 1e-2  # weights that start at 0 put whole layers on a kink
_ROUNDINGS = 100  # in the last place of the loss

Moves = dict[int, np.ndarray]  # by the weight's number, how it changes


def central_differences(setup: Setup) -> Finding:
    """`(L(w + h v) - L(w - h v)) / 2h` equals `gradient . v`, along random directions and coordinates.

    Nothing is dropped, batch norm takes its statistics from the batch as in training. Where differences of several
    steps disagree, which they do across a kink, nothing is said.
    """
    random = np.random.default_rng(setup.config.seed)
    images, labels = some_images(setup, _IMAGES)
    model = twin(setup, "float64")
    weights = model.trainable_weights
    for weight in weights:
        weight.assign_add(_JITTER * random.standard_normal(weight.shape))
    loss = tf.function(lambda: model.objective.mean_loss(labels, model(images, training=True)))
    gradients = _gradient(loss, weights)
    along = Slope(lambda: float(loss()), weights)
    verdicts = []
    wrong = []
    for name, moves in _moves(weights, gradients, random):
        analytic = sum(float(np.sum(gradients[i] * move)) for i, move in moves.items())
        verdict, numeric = along.agrees(moves, analytic)
        verdicts.append(verdict)
        if verdict is False:
            wrong.append(f"{name}: gradient {analytic:.8g}, differences {numeric:.8g}")
    judged = len(verdicts) - verdicts.count(None)
    if wrong:
        return error(f"{len(wrong)} of {judged} differ, first {wrong[0]}; look at custom gradients")
    if not judged:
        return skipped(f"all {len(verdicts)} directions and coordinates lie at kinks or are flat")
    return ok(
        f"agree along {judged} of {len(verdicts)} directions and coordinates; the others lie at kinks or are flat"
    )


class Slope:
    """Numeric derivatives of a loss along changes of its weights."""

    def __init__(self, loss: Callable[[], float], weights: list[Any]) -> None:
        self._loss = loss
        self._weights = weights

    def agrees(self, moves: Moves, analytic: float) -> tuple[bool | None, float]:
        """Whether differences say the same as `analytic`, None where they cannot tell; and what they say."""
        rounding = _ROUNDINGS * np.finfo(np.float64).eps * abs(self._loss())
        found: list[float] = []
        for step in _STEPS:
            numeric = self._difference(moves, step)
            if (
                abs(numeric - analytic) <= _RELATIVE * (abs(numeric) + abs(analytic))
                and abs(numeric) > rounding / step
            ):
                return True, numeric
            found.append(numeric)
        apart, numeric, step = min(
            (abs(a - b), b, h) for a, b, h in zip(found, found[1:], _STEPS[1:], strict=False)
        )
        off = min(abs(numeric - analytic) for numeric in found)
        return (False if off > 10 * (apart + rounding / step) else None), numeric

    def _difference(self, moves: Moves, step: float) -> float:
        start = {i: self._weights[i].numpy() for i in moves}
        losses = []
        for sign in (1, -1):
            for i, move in moves.items():
                self._weights[i].assign(start[i] + sign * step * move)
            losses.append(self._loss())
        for i, value in start.items():
            self._weights[i].assign(value)
        return (losses[0] - losses[1]) / (2 * step)


def _gradient(loss: Any, weights: list[Any]) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        value = loss()
    found = tape.gradient(value, [weight.value for weight in weights], unconnected_gradients="zero")
    return [gradient.numpy() for gradient in found]


def _moves(
    weights: list[Any], gradients: list[np.ndarray], random: np.random.Generator
) -> Iterator[tuple[str, Moves]]:
    """Directions in which every weight moves, half at random and half uphill; then single coordinates."""
    for number in range(_DIRECTIONS):
        yield (
            f"direction {number + 1}",
            {
                i: _unit(gradient) + _unit(random.standard_normal(gradient.shape))
                for i, gradient in enumerate(gradients)
            },
        )
    for _ in range(_COORDINATES):
        i = int(random.integers(len(weights)))
        place = max(
            random.integers(gradients[i].size, size=32), key=lambda at: abs(gradients[i].flat[at])
        )
        move = np.zeros_like(gradients[i])
        move.flat[place] = 1.0
        yield f"{weights[i].path}[{place}]", {i: move}


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / (math.sqrt(float(np.sum(vector**2))) or 1.0)
