"""Every optimizer of ours against its rule in NumPy, and against Keras' where it is the same."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from epochal.app.config import Config, Optim
from epochal.app.errors import UsageError
from epochal.app.training.optimizers import make_optimizer
from epochal.app.training.optimizers.adam import Adam
from epochal.app.training.optimizers.adaptive_gain import AdaptiveGain
from epochal.app.training.optimizers.diagonal_newton import DiagonalNewton
from epochal.app.training.optimizers.global_gain import GlobalGain
from epochal.app.training.optimizers.per_weight import build_optimizer
from epochal.app.training.optimizers.scaled import Adagrad, RMSprop
from epochal.app.training.optimizers.schedule_free import ScheduleFreeAdamW
from epochal.app.training.optimizers.sgd import SGD
from tests.support.optimizer_rules import (
    CONSTANT,
    DROPPED,
    EPSILON,
    RATE,
    START,
    Rule,
    adam,
    follow,
    gradient,
    minimize,
    schedule_free,
)


def heavy_ball(a: float = 0.9, nesterov: bool = False, damping: float = 0.0) -> Rule:
    """Polyak 1964: w(t+1) = w(t) - r g + a (w(t) - w(t-1)); damped where curvatures are 1."""
    moved = 0.0
    m = 0.0
    while True:
        g, r = yield moved
        m = a * m - r * g / (1 + damping)
        moved = a * m - r * g / (1 + damping) if nesterov else m


def velocity(a: float = 0.9, nesterov: bool = False) -> Rule:
    """PyTorch's: the rate multiplies the velocity."""
    moved = 0.0
    v = 0.0
    while True:
        g, r = yield moved
        v = g + a * v
        moved = -r * (g + a * v) if nesterov else -r * v


def averaging(a: float = 0.9) -> Rule:
    """Rumelhart et al. 1986: dw = (1 - a) dw_bp + a dw_previous."""
    moved = 0.0
    while True:
        g, r = yield moved
        moved = (1 - a) * -r * g + a * moved


def adagrad(inside: bool, first: float = 0.1) -> Rule:
    """Duchi et al. 2011."""
    moved = 0.0
    s = first
    while True:
        g, r = yield moved
        s = s + g**2
        moved = -r * g / (np.sqrt(s + EPSILON) if inside else np.sqrt(s) + EPSILON)


def rmsprop(inside: bool, d: float = 0.9) -> Rule:
    """Tieleman and Hinton 2012."""
    moved = 0.0
    s = 0.0
    while True:
        g, r = yield moved
        s = d * s + (1 - d) * g**2
        moved = -r * g / (np.sqrt(s + EPSILON) if inside else np.sqrt(s) + EPSILON)


def gain(up: float = 1.05, down: float = 0.7, average: float = 0.7) -> Rule:
    """Jacobs 1988, with factors."""
    moved = 0.0
    k = 1.0
    mean = 0.0
    while True:
        g, r = yield moved
        k = np.clip(k * np.where(g * mean > 0, up, np.where(g * mean < 0, down, 1.0)), 0.01, 100)
        mean = average * mean + (1 - average) * g
        moved = -r * k * g


def global_gain(up: float = 1.05, down: float = 0.7, a: float = 0.0) -> Rule:
    """Baydin et al. 2018, normalised, with a factor for either direction."""
    moved = 0.0
    k = 1.0
    m = 0.0
    before = np.zeros_like(START)
    while True:
        g, r = yield moved
        if before.any():
            cosine = g @ before / np.linalg.norm(g) / np.linalg.norm(before)
            k = np.clip(k * (1 + (up - 1 if cosine > 0 else 1 - down) * cosine), 0.01, 100)
        before = g
        m = a * m - r * k * g
        moved = m


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Rule]]] = {
    "plain": (lambda: SGD(), lambda: heavy_ball(0.0)),
    "heavy ball": (lambda: SGD(momentum=0.9), heavy_ball),
    "heavy ball, Nesterov": (
        lambda: SGD(momentum=0.9, nesterov=True),
        lambda: heavy_ball(nesterov=True),
    ),
    "velocity": (lambda: SGD(momentum=0.9, form="velocity"), velocity),
    "velocity, Nesterov": (
        lambda: SGD(momentum=0.9, nesterov=True, form="velocity"),
        lambda: velocity(nesterov=True),
    ),
    "averaging": (lambda: SGD(momentum=0.9, form="averaging"), averaging),
    "adagrad, inside": (lambda: Adagrad(epsilon=EPSILON), lambda: adagrad(True)),
    "adagrad, outside": (
        lambda: Adagrad(epsilon=EPSILON, epsilon_mode="outside", initial_accumulator_value=0.0),
        lambda: adagrad(False, 0.0),
    ),
    "rmsprop, inside": (lambda: RMSprop(epsilon=EPSILON), lambda: rmsprop(True)),
    "rmsprop, outside": (
        lambda: RMSprop(epsilon=EPSILON, epsilon_mode="outside"),
        lambda: rmsprop(False),
    ),
    "adaptive gain": (lambda: AdaptiveGain(), gain),
    "global gain": (lambda: GlobalGain(), global_gain),
    "global gain, heavy ball": (
        lambda: GlobalGain(momentum=0.9, up=1.5, down=0.4),
        lambda: global_gain(1.5, 0.4, 0.9),
    ),
    "schedule-free": (lambda: ScheduleFreeAdamW(epsilon=EPSILON), schedule_free),
    "schedule-free, decay and warm-up": (
        lambda: ScheduleFreeAdamW(epsilon=EPSILON, weight_decay=0.5, warmup_steps=6),
        lambda: schedule_free(0.5, 6),
    ),
    "diagonal Newton": (
        lambda: DiagonalNewton(momentum=0.9, damping=0.25),
        lambda: heavy_ball(damping=0.25),
    ),
} | {
    f"adam, {mode}, {'corrected' if correction else 'uncorrected'}, v from {v:g}": (
        lambda mode=mode, correction=correction, v=v: Adam(
            epsilon=EPSILON, epsilon_mode=mode, bias_correction=correction, v_init=v
        ),
        lambda mode=mode, correction=correction, v=v: adam(mode, correction, v),
    )
    for mode in ("keras", "outside", "inside")
    for correction, v in ((True, 0.0), (False, 0.0), (False, 1.0))
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rates", [CONSTANT, DROPPED], ids=["constant", "dropped"])
def test_follows_its_rule(case: str, rates: list[float]) -> None:
    optimizer, rule = CASES[case]
    np.testing.assert_allclose(
        minimize(optimizer(), rates), follow(rule(), rates), rtol=0, atol=1e-6
    )


def test_adam_keeps_the_largest_second_moment_in_every_mode() -> None:
    optimizer = Adam(epsilon=EPSILON, epsilon_mode="outside", amsgrad=True)
    np.testing.assert_allclose(
        minimize(optimizer), follow(adam("outside", largest=True)), atol=1e-6
    )


@pytest.mark.parametrize("case", CASES)
def test_is_made_again_from_its_configuration(case: str) -> None:
    optimizer = CASES[case][0]()
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


def test_forms_agree_until_the_rate_drops() -> None:
    def end(form: str, rates: list[float]) -> np.ndarray:
        return minimize(SGD(momentum=0.9, form=form), rates)

    same = end("velocity", CONSTANT)
    np.testing.assert_allclose(end("heavy_ball", CONSTANT), same, atol=1e-6)
    assert np.abs(end("heavy_ball", DROPPED) - end("velocity", DROPPED)).max() > 0.05
    averaged = minimize(SGD(momentum=0.5, form="averaging"))
    np.testing.assert_allclose(averaged, minimize(SGD(momentum=0.5), [RATE / 2] * 10), atol=1e-6)


def test_heavy_ball_keeps_its_velocity_when_the_rate_drops() -> None:
    rates = [RATE] * 200 + [0.0]
    steady = {"slope": np.ones_like, "start": np.zeros(1)}
    for form, last in (("heavy_ball", 9 * RATE), ("velocity", 0.0)):
        before = minimize(SGD(momentum=0.9, form=form), rates[:-1], **steady)
        after = minimize(SGD(momentum=0.9, form=form), rates, **steady)
        np.testing.assert_allclose(before - after, last, atol=1e-6)


def test_a_constant_gradient_gives_momentum_its_full_gain() -> None:
    steady = {"slope": np.ones_like, "start": np.zeros(1)}
    before = minimize(SGD(momentum=0.9), [RATE] * 300, **steady)
    after = minimize(SGD(momentum=0.9), [RATE] * 301, **steady)
    np.testing.assert_allclose(before - after, 10 * RATE, rtol=1e-5)


def test_adagrads_rate_falls_with_the_root_of_time() -> None:
    options = {"epsilon": 1e-12, "epsilon_mode": "outside", "initial_accumulator_value": 0.0}
    steady = {"slope": np.ones_like, "start": np.zeros(1)}
    places = [minimize(Adagrad(**options), [RATE] * n, **steady)[0] for n in range(6)]
    np.testing.assert_allclose(-np.diff(places), RATE / np.sqrt([1, 2, 3, 4, 5]), atol=1e-8)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_adams_first_step_is_the_rate(scale: float) -> None:
    optimizer = Adam(epsilon=1e-12, epsilon_mode="outside")
    end = minimize(optimizer, [RATE], lambda w: scale * gradient(w))
    np.testing.assert_allclose(end - START, -RATE * np.sign(gradient(START)), rtol=1e-6)


def test_adams_first_step_without_correction() -> None:
    options = {"epsilon": 1e-12, "epsilon_mode": "outside", "bias_correction": False}
    from_zero = minimize(Adam(**options), [RATE]) - START
    np.testing.assert_allclose(
        from_zero, -RATE * 0.1 / np.sqrt(0.001) * np.sign(gradient(START)), rtol=1e-6
    )
    from_one = minimize(Adam(v_init=1.0, **options), [RATE], lambda w: 1e-3 * gradient(w)) - START
    np.testing.assert_allclose(from_one, -RATE * 0.1 * 1e-3 * gradient(START), rtol=1e-3)


def test_gains_converge_where_one_rate_for_all_does_not() -> None:
    canyon = {"slope": lambda w: np.array([1.0, 50.0]) * w, "start": np.array([1.0, 1.0])}
    rates = [2.5 / 50] * 300
    assert np.abs(minimize(SGD(), rates, **canyon)).max() > 1e10
    assert np.abs(minimize(AdaptiveGain(), rates, **canyon)).max() < 1e-3
    for steps in (5, 20):  # the rate of the steep axis falls, that of the flat one rises
        optimizer = AdaptiveGain()
        minimize(optimizer, rates[:steps], **canyon)
        flat, steep = optimizer._gains[0].numpy()
        assert steep < 1 < flat


def test_one_gain_sees_the_angle_of_the_whole_gradient() -> None:
    optimizer = GlobalGain(up=1.5, down=0.75)
    weights = [keras.Variable(part, dtype="float64") for part in ([3.0, 0.0], [4.0])]
    optimizer.build(weights)
    gains = []
    # The cosine is unknown at first; then 3/5, which is that of neither part; then 0; then -1.
    for parts in (
        [[3.0, 0.0], [4.0]],
        [[9.0, 0.0], [0.0]],
        [[0.0, 1.0], [0.0]],
        [[0.0, -2.0], [0.0]],
    ):
        optimizer.apply([keras.ops.convert_to_tensor(part, "float64") for part in parts], weights)
        gains.append(float(optimizer._gain))
    np.testing.assert_allclose(gains, [1.0, 1.3, 1.3, 0.975], rtol=1e-12)


def test_one_gain_falls_in_a_canyon_and_rises_on_a_slope() -> None:
    canyon = {"slope": lambda w: np.array([1.0, 50.0]) * w, "start": np.array([1.0, 1.0])}
    assert np.abs(minimize(GlobalGain(), [2.5 / 50] * 300, **canyon)).max() < 1e-6
    slow = GlobalGain()
    steady = {"slope": np.ones_like, "start": np.zeros(1)}
    minimize(slow, [1e-3] * 101, **steady)
    assert float(slow._gain) == pytest.approx(100)


@pytest.mark.parametrize(
    "form", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str
)
def test_sgd_equals_keras_to_the_bit(form: dict[str, Any]) -> None:
    def trained(kind: Any) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(3)]
        )
        model.compile(kind(0.1, **form), "mse")
        random = np.random.default_rng(1)
        model.fit(
            random.normal(size=(64, 5)),
            random.normal(size=(64, 3)),
            epochs=5,
            batch_size=16,
            verbose=0,
        )
        return [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]

    for ours, stock in zip(trained(SGD), trained(keras.optimizers.SGD), strict=True):
        np.testing.assert_array_equal(ours, stock)


REFUSED = {
    "form": (SGD, {"momentum": 0.9, "form": "polyak"}),
    "form without momentum": (SGD, {"form": "velocity"}),
    "mode of adam": (Adam, {"epsilon_mode": "above"}),
    "v_init with correction": (Adam, {"v_init": 1.0}),
    "mode of adagrad": (Adagrad, {"epsilon_mode": "keras"}),
    "outside with momentum": (RMSprop, {"epsilon_mode": "outside", "momentum": 0.9}),
    "up below 1": (AdaptiveGain, {"up": 0.9}),
    "damping below 0": (DiagonalNewton, {"damping": -0.1}),
    "down above 1": (GlobalGain, {"down": 1.1}),
    "one gain's limits": (GlobalGain, {"limits": (2.0, 3.0)}),
    "an infinite gain": (GlobalGain, {"up": float("inf")}),
    "no average": (ScheduleFreeAdamW, {"beta_1": 0}),
    "a warm-up backwards": (ScheduleFreeAdamW, {"warmup_steps": -5}),
    "limits beside 1": (AdaptiveGain, {"limits": (2.0, 3.0)}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    kind, options = REFUSED[case]
    with pytest.raises(ValueError, match=r"must be|needs|goes without"):
        kind(**options)


def test_schedule_frees_sequence_decays_by_the_rate_of_its_weight() -> None:
    """The factor on a weight's rate counts once, and nothing decays twice."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="top")], name="net")
    before = model.get_weights()[0]
    optim = Optim(decay="decoupled", weight_decay=0.5, rates={"kernel": 0.5})
    optimizer = build_optimizer(ScheduleFreeAdamW, {"learning_rate": 0.1}, model, optim)
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.zeros_like(weight) for weight in model.trainable_variables])
    np.testing.assert_allclose(model.get_weights()[0], before * (1 - 0.1 * 0.5 * 0.5), rtol=1e-6)


@pytest.mark.parametrize(("option", "value"), [("nesterov", "false"), ("nesterov", 0)])
def test_flags_are_no_numbers_nor_words(option: str, value: Any) -> None:
    with pytest.raises(
        UsageError, match=f"optim.options: {option} must be true or false, got {value!r}"
    ):
        make_optimizer(Config(optim=Optim(options={option: value})))


def test_made_by_name() -> None:
    made = make_optimizer(
        Config(
            optimizer="Adam", learning_rate=0.01, optim=Optim(options={"epsilon_mode": "inside"})
        )
    )
    assert isinstance(made, Adam)
    assert made.epsilon_mode == "inside"
    assert isinstance(make_optimizer(Config()), SGD)
    assert type(make_optimizer(Config(optimizer="lion"))) is keras.optimizers.Lion
    plain = make_optimizer(Config(optim=Optim(options={"momentum": 0, "nesterov": False})))
    assert (plain.momentum, type(plain.momentum), plain.nesterov) == (0.0, float, False)
    with pytest.raises(UsageError, match="form must be one of heavy_ball"):
        make_optimizer(Config(optim=Optim(options={"momentum": 0.9, "form": "pollyak"})))


@pytest.mark.parametrize(
    ("optimizer", "options", "ending"),
    [
        (
            "diagonalnewton",
            {"damping": -1.0},
            "damping must be at least 0, got -1.0; see docs/optimizers.md",
        ),
        (
            "nadam",
            {"wheels": 2},
            "nadam refuses {'wheels': 2}: it has no wheels; see keras.optimizers",
        ),
    ],
)
def test_a_refused_option_is_looked_up_where_it_is_documented(
    optimizer: str, options: Any, ending: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_optimizer(Config(optimizer=optimizer, optim=Optim(options=options)))
    assert str(caught.value).endswith(ending)
