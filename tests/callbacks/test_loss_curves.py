"""The loss curves: formulas against closed forms, events on curves whose answer is known."""

import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from epochal.callbacks import LossCurves, TrainingLog
from epochal.callbacks.parts.loss_figure import draw_losses
from epochal.callbacks.parts.loss_history import rate_drops, read_curves, rises_after, smoothed
from tests.support.clock import Clock

EPOCHS = np.arange(30)


def noise(seed: int, scale: float, count: int = 30) -> np.ndarray:
    return scale * np.random.default_rng(seed).normal(size=count)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 0.99))
def test_smoothing_is_the_mean_with_falling_weights(values: list[float], weight: float) -> None:
    for count, found in enumerate(smoothed(values, weight), start=1):
        weights = weight ** np.arange(count - 1, -1, -1.0)
        assert found == pytest.approx(
            np.dot(weights, values[:count]) / weights.sum(), rel=1e-9, abs=1e-6
        )


def test_smoothing_passes_over_what_is_not_finite() -> None:
    np.testing.assert_allclose(
        smoothed([np.nan, 1.0, np.inf, 3.0], 0.5), [np.nan, 1.0, 1.0, (0.5 + 3) / 1.5]
    )


def test_smoothing_makes_the_course_of_a_noisy_loss_fall() -> None:
    losses = np.exp(-np.arange(300) / 100) + noise(0, 0.1, 300)
    course = smoothed(losses, 0.95)
    assert np.mean(np.diff(losses) < 0) < 0.6
    assert np.mean(np.diff(course[::20]) < 0) > 0.9


@pytest.mark.parametrize(
    ("rates", "places"),
    [
        ([0.1] * 4 + [0.01] * 4 + [0.001] * 2, [3, 7]),
        ([0.1, 0.01], [0]),
        ([0.1] * 5, []),
        ([0.1] * 3 + [0.2] * 3, []),
        (0.05 * (1 + np.cos(np.linspace(0, np.pi, 50))), []),
        (0.1 * 0.7 ** np.arange(20), []),
        (np.linspace(0.1, 0.0, 40), []),
        ([], []),
    ],
    ids=["steps", "two", "constant", "rises", "cosine", "exponential", "linear", "none"],
)
def test_only_sudden_falls_of_the_rate_are_marked(
    rates: Sequence[float], places: list[int]
) -> None:
    assert rate_drops(rates) == places


@pytest.mark.parametrize("seed", range(5))
def test_overfitting_is_found_at_its_lowest_epoch(seed: int) -> None:
    losses = 0.4 + np.exp(-EPOCHS / 3) + 0.03 * np.maximum(0, EPOCHS - 10) + noise(seed, 0.01)
    lowest = rises_after(losses)
    assert lowest is not None
    assert abs(lowest - 10) <= 3
    assert lowest == np.argmin(losses)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.0, 0.01, 0.1])
def test_a_healthy_course_has_no_rise(seed: int, scale: float) -> None:
    assert rises_after(0.4 + np.exp(-EPOCHS / 5) + noise(seed, scale)) is None


@pytest.mark.parametrize(
    "losses",
    [
        [1.0, 0.5, 0.4, 0.9, 0.38, 0.37, 0.36, 0.36, 0.35, 0.35],
        [1.0, 0.5, 0.6, 0.7, 0.8],
        [1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.4, 0.3, 0.3],
        [0.4] * 12,
        [1.0, 0.5, *np.linspace(0.5001, 0.505, 20)],
        [np.nan] * 12,
        [],
    ],
    ids=[
        "one bad epoch",
        "too short to tell",
        "falls again",
        "constant",
        "hardly",
        "not finite",
        "none",
    ],
)
def test_no_rise_for_good(losses: list[float]) -> None:
    assert rises_after(losses) is None


def test_false_alarms_are_rare_on_plateaus() -> None:
    alarms = sum(rises_after(1 + noise(seed, 0.05)) is not None for seed in range(200))
    assert alarms <= 8  # one in forty or less, by the test's level


def fit(folder: Path, *, epochs: int = 3) -> LossCurves:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(48, 3)).astype("float32")
    y = generator.normal(size=(48, 1)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    curves = LossCurves(folder / "losses.png", log=folder / "iterations.jsonl")
    log = TrainingLog(folder, every=2)
    model.fit(
        x,
        y,
        batch_size=8,
        epochs=epochs,
        verbose=0,
        validation_data=(x, y),
        callbacks=[log, curves],
    )
    return curves


def test_draws_what_the_log_holds(tmp_path: Path) -> None:
    fit(tmp_path)
    with Image.open(tmp_path / "losses.png") as image:
        assert image.size == (1152, 648)
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    lines = [json.loads(line) for line in (tmp_path / "iterations.jsonl").read_text().splitlines()]
    found = json.loads((tmp_path / "losses.json").read_text())
    assert found["iterations"] == [2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert found["raw"] == [line["loss"] for line in lines if "loss" in line]
    assert found["validation"]["losses"] == [
        line["val_loss"] for line in lines if "val_loss" in line
    ]
    assert found["validation"]["iterations"] == [6, 12, 18]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("iterations.jsonl", "iterations.log", "losses.json", "losses.png")
    ]


def test_draws_within_training_once_it_costs_a_hundredth(tmp_path: Path) -> None:
    picture = tmp_path / "losses.png"
    drawn = []

    class Drawing(Clock):
        """Takes half a second to draw, which it notices by the picture."""

        def __call__(self) -> float:
            if picture.exists():
                picture.unlink()
                drawn.append(self.now)
                self.advance(0.5)
            return self.now

    clock = Drawing(0.0)
    curves = LossCurves(picture, log=tmp_path / "iterations.jsonl", clock=clock)
    curves.on_train_begin()
    for epoch in range(20):
        clock.advance(30.0)
        curves.on_epoch_end(epoch)
    # 50 s apart at least, at the ends of epochs.
    assert drawn == [120.0, 180.5, 241.0, 301.5, 362.0, 422.5, 483.0, 543.5, 604.0]


def test_marks_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "iterations.jsonl"
    with log.open("w") as file:
        for epoch in range(20):
            for step in range(100):
                values = {
                    "iteration": 100 * epoch + step + 1,
                    "learning_rate": 0.1 if epoch < 10 else 0.01,
                }
                file.write(json.dumps(values | {"loss": 1 / (epoch + 1)}) + "\n")
            values = {"iteration": 100 * epoch + 100, "learning_rate": 0.1, "epoch": epoch + 1}
            file.write(json.dumps(values | {"val_loss": 1 + abs(epoch - 7) / 10}) + "\n")
    found = read_curves(log, None)
    assert found["drops"] == [1000]
    assert found["rises"] == {"epoch": 8, "iteration": 800}
    assert found["iterations"] == list(range(2, 2001, 2))  # thinned, the last one kept
    assert len(found["raw"]) == len(found["smoothed"]) == 1000


@pytest.mark.parametrize(("steps", "drops"), [(25, [75]), (30, [90]), (1000, [70])])
def test_a_drop_is_marked_where_an_epoch_ended(
    tmp_path: Path, steps: int, drops: list[int]
) -> None:
    drop = drops[0] if steps < 1000 else 73  # within an epoch
    rates = [0.1] * drop + [0.01] * (150 - drop)
    with (log := tmp_path / "iterations.jsonl").open("w") as file:
        for iteration, rate in enumerate(rates, start=1):
            for name in ["loss"] * (iteration % 10 == 0) + ["val_loss"] * (iteration % steps == 0):
                values = {
                    "iteration": iteration,
                    "learning_rate": rate,
                    "epoch": iteration // steps,
                    name: 1.0,
                }
                file.write(json.dumps(values) + "\n")
    assert read_curves(log, None)["drops"] == drops


def test_losses_that_are_not_finite_do_not_end_training(tmp_path: Path) -> None:
    x = np.ones((8, 3), "float32")
    y = np.ones((8, 1), "float32")
    x[5] = np.nan
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    curves = LossCurves(tmp_path / "losses.png", log=tmp_path / "iterations.jsonl")
    watching = [TrainingLog(tmp_path, every=1), curves]
    model.fit(
        x, y, batch_size=2, shuffle=False, verbose=0, validation_data=(x, y), callbacks=watching
    )
    found = json.loads((tmp_path / "losses.json").read_text())
    assert [loss is None for loss in found["raw"]] == [False, False, True, True]
    assert (None in found["smoothed"], found["validation"]["losses"]) == (False, [None])


@pytest.mark.parametrize(
    ("iterations", "named"),
    [([], ["validation"]), ([10], ["training, raw", "training, smoothed", "validation"])],
)
def test_only_what_is_drawn_is_named(iterations: list[int], named: list[str]) -> None:
    axes = Figure().add_subplot()
    losses = [1.0 for _ in iterations]
    validation = {"iterations": [5], "losses": [1.0]}
    found = {"iterations": iterations, "raw": losses, "smoothed": losses, "validation": validation}
    draw_losses(axes, {**found, "drops": [], "rises": None})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == named
    assert all(line.get_marker() == "." for line in axes.get_lines()[1:])  # one point makes no line


def test_no_log_draws_an_empty_picture(tmp_path: Path) -> None:
    curves = LossCurves(tmp_path / "losses.png", log=tmp_path / "absent.jsonl")
    curves.on_train_end()
    assert (tmp_path / "losses.png").exists()


@pytest.mark.parametrize(
    ("path", "smoothing"), [("losses.jpg", 0.9), ("losses.png", 1.0), ("losses.png", -0.1)]
)
def test_refuses_bad_arguments(tmp_path: Path, path: str, smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"must .* got"):
        LossCurves(tmp_path / path, log=tmp_path / "iterations.jsonl", smoothing=smoothing)


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "width", "fires"), [(500, 256, True), (20_000, 0, False)])
def test_a_net_that_learns_by_heart_fires_and_a_healthy_one_does_not(
    tmp_path: Path, examples: int, width: int, fires: bool
) -> None:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(examples + 2000, 20)).astype("float32")
    labels = (x[:, :5].sum(axis=1) > 0) ^ (generator.random(len(x)) < 0.2)  # a fifth of them wrong
    hidden = [keras.layers.Dense(width, "relu")] if width else []
    model = keras.Sequential([keras.Input((20,)), *hidden, keras.layers.Dense(2)])
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    train = (x[2000:], labels[2000:].astype("int32"))
    held_out = (x[:2000], labels[:2000].astype("int32"))
    options = {
        "batch_size": 32 if fires else 256,
        "epochs": 40,
        "verbose": 0,
        "validation_data": held_out,
    }
    curves = LossCurves(tmp_path / "losses.png", log=tmp_path / "iterations.jsonl")
    model.fit(*train, **options, callbacks=[TrainingLog(tmp_path), curves])
    rises = json.loads((tmp_path / "losses.json").read_text())["rises"]
    assert (rises is not None) == fires
    if fires:
        assert 1 <= rises["epoch"] <= 20
