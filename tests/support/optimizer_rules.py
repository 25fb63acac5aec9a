"""Rules of optimizers written out in NumPy, and the small problem on which they are followed."""

from collections.abc import Generator
from typing import Any

import keras
import numpy as np

RATE = 2.0**-4  # exact in float32, in which Keras keeps it
CONSTANT = [RATE] * 10
DROPPED = [RATE] * 5 + [RATE / 16] * 5
START = np.array([1.5, -2.0, 0.25, 3.0])
EPSILON = 0.01  # large enough to see where it stands
# Is sent gradient and rate, yields what is added to the weight.
Rule = Generator[Any, tuple[np.ndarray, float], None]


def gradient(weight: np.ndarray) -> np.ndarray:
    """Return the gradient of a bowl with ripples."""
    return np.array([0.1, 1.0, 5.0, 0.5]) * weight + 0.3 * np.sin(3 * weight)


def follow(
    rule: Rule, rates: list[float] = CONSTANT, slope: Any = gradient, start: np.ndarray = START
) -> np.ndarray:
    """Return the weight to which a rule leads."""
    next(rule)
    weight = start
    for rate in rates:
        weight = weight + rule.send((slope(weight), rate))
    return weight


def minimize(
    optimizer: Any,
    rates: list[float] = CONSTANT,
    slope: Any = gradient,
    start: Any = START,
    dtype: str = "float64",
) -> np.ndarray:
    """Return the weight to which an optimizer leads."""
    weight = keras.Variable(start, dtype=dtype)
    optimizer.build([weight])
    for rate in rates:
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(slope(weight.numpy()), dtype)], [weight])
    return weight.numpy()


def adam(mode: str, correction: bool = True, v: Any = 0.0, largest: bool = False) -> Rule:
    """Kingma and Ba 2015, algorithm 1, and its variants."""
    moved = 0.0
    m = 0.0
    t = 0
    top = 0.0
    while True:
        g, r = yield moved
        t = t + 1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        top = np.maximum(top, v) if largest else v
        c1, c2 = (1 - 0.9**t, 1 - 0.999**t) if correction else (1, 1)
        root = {
            "outside": np.sqrt(top / c2) + EPSILON,
            "inside": np.sqrt(top / c2 + EPSILON),
            "keras": (np.sqrt(top) + EPSILON) / np.sqrt(c2),
        }
        moved = -r * (m / c1) / root[mode]


def schedule_free(decay: float = 0.0, warm_up: int = 1) -> Rule:
    """Defazio et al. 2024 (arXiv 2405.15682), algorithm 1."""
    moved = 0.0
    x = START
    y = START
    z = START
    v = 0.0
    t = 0
    total = 0.0
    while True:
        g, r = yield moved
        t = t + 1
        v = 0.999 * v + 0.001 * g**2
        r = r * min(1, t / warm_up)
        z = z - r * (g / (np.sqrt(v / (1 - 0.999**t)) + EPSILON) + decay * y)
        total += r**2
        x = x + r**2 / total * (z - x)
        moved = 0.1 * z + 0.9 * x - y
        y = 0.1 * z + 0.9 * x
