"""Keras' optimizers, offered by their names, against the rules of their papers in NumPy."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from epochal.app.config import Config, Optim
from epochal.app.config.optimizers import USUAL_RATES
from epochal.app.training.optimizers import make_optimizer, optimizer_classes
from epochal.app.training.run.setup import set_up, start
from tests.support.optimizer_rules import (
    CONSTANT,
    DROPPED,
    EPSILON,
    START,
    Rule,
    adam,
    follow,
    minimize,
    schedule_free,
)

MATRIX = np.random.default_rng(2).normal(size=(3, 4))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def adamw(decay: float = 0.5) -> Rule:
    """Loshchilov and Hutter 2019, algorithm 2, with the rate on the decay, too."""
    rule = adam("keras")
    w = START
    next(rule)
    moved = 0.0
    while True:
        g, r = yield moved
        shrunk = w * (1 - r * decay)
        moved = shrunk + rule.send((g, r)) - w
        w = w + moved


def adamax() -> Rule:
    """Kingma and Ba 2015, algorithm 2."""
    moved = 0.0
    m = 0.0
    u = 0.0
    t = 0
    while True:
        g, r = yield moved
        t = t + 1
        m = 0.9 * m + 0.1 * g
        u = np.maximum(0.999 * u, np.abs(g))
        moved = -r / (1 - 0.9**t) * m / (u + EPSILON)


def nadam() -> Rule:
    """Dozat 2016, algorithm 2, with its schedule of momenta."""
    moved = 0.0
    m = 0.0
    v = 0.0
    t = 0
    product = 1.0
    while True:
        g, r = yield moved
        t = t + 1
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        now, after = (0.9 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        product *= now
        ahead = after * m / (1 - product * after) + (1 - now) * g / (1 - product)
        moved = -r * ahead / (np.sqrt(v / (1 - 0.999**t)) + EPSILON)


def adadelta() -> Rule:
    """Zeiler 2012, algorithm 1, times the rate."""
    moved = 0.0
    s = 0.0
    d = 0.0
    while True:
        g, r = yield moved
        s = 0.95 * s + 0.05 * g**2
        step = -np.sqrt(d + EPSILON) / np.sqrt(s + EPSILON) * g
        d = 0.95 * d + 0.05 * step**2
        moved = r * step


def ftrl() -> Rule:
    """McMahan et al. 2013, algorithm 1, with neither L1 nor L2."""
    moved = 0.0
    w = START
    z = 0.0
    n = 0.1
    while True:
        g, r = yield moved
        z = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) / r * w
        n = n + g**2
        moved = -z * r / np.sqrt(n) - w
        w = w + moved


def lion() -> Rule:
    """Chen et al. 2023, algorithm 2."""
    moved = 0.0
    m = 0.0
    while True:
        g, r = yield moved
        moved = -r * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g


def lamb() -> Rule:
    """You et al. 2020, algorithm 2."""
    rule = adam("outside")
    w = START
    moved = 0.0
    next(rule)
    while True:
        g, r = yield moved
        step = rule.send((g, 1.0))
        moved = r * np.linalg.norm(w) / np.linalg.norm(step) * step
        w = w + moved


def adafactor(start: np.ndarray) -> Rule:
    """Shazeer and Stern 2018, algorithm 4 for matrices, algorithm 5 for vectors."""
    moved = 0.0
    w = start
    t = 0
    rows = 0.0
    columns = 0.0
    v = 0.0
    while True:
        g, r = yield moved
        t += 1
        kept = 1 - t**-0.8
        square = g**2 + 1e-30
        if w.ndim == 2:
            rows = kept * rows + (1 - kept) * square.mean(1)
            columns = kept * columns + (1 - kept) * square.mean(0)
            v = np.outer(rows, columns) / rows.mean()
        else:
            v = kept * v + (1 - kept) * square
        u = g / np.sqrt(v)
        moved = -max(1e-3, rms(w)) * min(r, t**-0.5) * u / max(1.0, rms(u))
        w = w + moved


def muon() -> Rule:
    """Jordan et al. 2024: the orthogonal momentum of a matrix, scaled as by Liu et al. 2025."""
    moved = 0.0
    m = 0.0
    while True:
        g, r = yield moved
        m = 0.95 * m + g
        x = g + 0.95 * m
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        moved = -r * x * np.sqrt(max(x.shape)) * 0.2


KINDS = keras.optimizers
CASES: dict[str, tuple[Callable[[], Any], Callable[[], Rule], np.ndarray]] = {
    "AdamW": (lambda: KINDS.AdamW(weight_decay=0.5, epsilon=EPSILON), adamw, START),
    "Adamax": (lambda: KINDS.Adamax(epsilon=EPSILON), adamax, START),
    "Nadam": (lambda: KINDS.Nadam(epsilon=EPSILON), nadam, START),
    "Adadelta": (lambda: KINDS.Adadelta(epsilon=EPSILON), adadelta, START),
    "Ftrl": (lambda: KINDS.Ftrl(), ftrl, START),
    "Lion": (lambda: KINDS.Lion(), lion, START),
    "Lamb": (lambda: KINDS.Lamb(epsilon=EPSILON), lamb, START),
    "Adafactor": (lambda: KINDS.Adafactor(), lambda: adafactor(START), START),
    "Adafactor, a matrix": (lambda: KINDS.Adafactor(), lambda: adafactor(MATRIX), MATRIX),
    "Muon": (lambda: KINDS.Muon(weight_decay=None), muon, MATRIX),
}
_ROUNDED = {
    "AdamW": ("float64", 1e-5),  # Keras rounds the betas to float32
    "Muon": ("float32", 1e-5),  # it takes no float64
}


@pytest.mark.parametrize("rates", [CONSTANT, DROPPED], ids=["constant", "dropped"])
@pytest.mark.parametrize("case", CASES)
def test_follows_its_paper(case: str, rates: list[float]) -> None:
    optimizer, rule, start = CASES[case]
    dtype, tolerance = _ROUNDED.get(case, ("float64", 1e-6))
    end = minimize(optimizer(), rates, start=start, dtype=dtype)
    expected = follow(rule(), rates, start=start)
    np.testing.assert_allclose(end, expected, rtol=0, atol=tolerance)


def test_schedule_free_is_not_what_keras_makes_of_it() -> None:
    wrong = minimize(KINDS.ScheduleFreeAdamW(epsilon=EPSILON))
    right = follow(schedule_free())
    assert np.abs(wrong - right).max() > 0.01  # once Keras mends it, ours can go


@pytest.mark.usefixtures("determinism_ends_here")
@pytest.mark.parametrize(
    "name", sorted({case.partition(",")[0].lower() for case in CASES} | {"schedulefreeadamw"})
)
def test_all_its_variables_are_known_within_a_loss_scale(name: str) -> None:
    config = Config(
        model="softmax", optimizer=name, optim=Optim(options={}), precision="mixed_float16"
    )
    setup = set_up(config)
    start(setup)
    alone = make_optimizer(config)
    alone.build(setup.model.trainable_variables)
    held = setup.model.optimizer.variables
    assert [variable.shape for variable in held[-len(alone.variables) :]] == [
        v.shape for v in alone.variables
    ]


def test_none_is_left_out() -> None:
    of_keras = {
        name for name, kind in optimizer_classes().items() if kind.__module__.startswith("keras.")
    }
    assert of_keras == {case.partition(",")[0].lower() for case in CASES}


def test_every_optimizer_has_a_usual_rate() -> None:
    assert set(USUAL_RATES) == set(optimizer_classes())


# Those whose rate has a source of its own, named beside it.
SOURCED = {"sgd", "adadelta", "adagrad", "adafactor", "ftrl", "lion", "globalgain"}


@pytest.mark.parametrize("name", USUAL_RATES)
def test_a_usual_rate_is_the_default_of_the_class_or_has_a_source(name: str) -> None:
    parameters = inspect.signature(optimizer_classes()[name]).parameters
    is_default = USUAL_RATES[name] == parameters["learning_rate"].default
    assert is_default == (name not in SOURCED)
