"""Timing: exact with a clock that the test moves, and true with one that runs by itself."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from epochal.callbacks import Freezing, GradientClipping, Timing
from epochal.callbacks.parts.durations import Durations
from tests.support.clock import Clock
from tests.support.toys import two_classes

X, Y = two_classes(14, 3)  # 4 batches of 4: the last is smaller


class Takes(keras.layers.Layer):
    """Hands its input on, once `wait` has returned."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__()
        self.wait = wait
        self.traced = 0

    def call(self, inputs: Any) -> Any:
        self.traced += 1
        return inputs + tf.stop_gradient(waited(inputs, self.wait) * 0)


class At(keras.callbacks.Callback):
    """Takes time after each step and each epoch, and saves once an epoch."""

    def __init__(self, timing: Timing, advance: Callable[[float], None]) -> None:
        super().__init__()
        self.timing = timing
        self.advance = advance

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.advance(0.01)
        if batch == 1:
            with self.timing.saving():
                self.advance(0.3)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.advance(0.2)


def waited(tensor: Any, wait: Callable[[], None]) -> Any:
    def after(array: np.ndarray) -> np.ndarray:
        wait()
        return array

    same = tf.numpy_function(after, [tensor], tensor.dtype)
    same.set_shape(tensor.shape)
    return same


def batches(wait: Callable[[], None] | None = None) -> Any:
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = (
        False  # batches are made when they are asked for
    )
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4).with_options(options)
    return data.map(lambda x, y: (waited(x, wait), y)) if wait else data


def classifier(wait: Callable[[], None] | None = None, **options: Any) -> keras.Model:
    middle = [Takes(wait)] if wait else []
    model = keras.Sequential(
        [keras.Input((3,)), *middle, keras.layers.Dense(2, kernel_initializer="ones")]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def fit(
    model: keras.Model, data: Any, *callbacks: keras.callbacks.Callback, **options: Any
) -> None:
    model.fit(data, **{"verbose": 0, "shuffle": False, "callbacks": list(callbacks), **options})


def seconds(timing: Timing) -> dict[str, float]:
    return {part: figures["total"] for part, figures in timing.summary["parts"].items()}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_every_part_gets_its_own_time(tmp_path: Path, clock: Clock) -> None:
    timing = Timing(tmp_path / "timing.json", clock=clock)
    model = classifier(lambda: clock.advance(0.1))
    at = At(timing, clock.advance)
    fit(
        model, batches(lambda: clock.advance(0.03)), timing, at, epochs=2, validation_data=batches()
    )
    # Two epochs of four steps, of which the very first is kept apart; 0.01 after an epoch's last
    # step is the epoch's.
    assert seconds(timing) == pytest.approx(
        {
            "input": 7 * 0.03,
            "step": 7 * 0.1,
            "callbacks": 5 * 0.01,
            "iteration": 7 * 0.13 + 5 * 0.01,
            "first_step": 0.14,
            "evaluation": 2 * 4 * 0.1,
            "epoch_callbacks": 2 * 0.21,
            "checkpoints": 2 * 0.3,
        }
    )
    written = json.loads((tmp_path / "timing.json").read_text())
    assert written == timing.summary
    assert written["bound"] == "compute-bound"
    assert written["parts"]["input"]["times"] == 7
    assert written["parts"]["input"]["median"] == pytest.approx(0.03, rel=0.006)
    assert written["parts"]["step"]["p95"] == pytest.approx(0.1, rel=0.006)


def test_steps_executed_together_are_told_apart_from_nothing_but_callbacks(
    tmp_path: Path, clock: Clock
) -> None:
    timing = Timing(tmp_path / "timing.json", clock=clock)
    model = classifier(lambda: clock.advance(0.1), steps_per_execution=2)
    fit(model, batches(lambda: clock.advance(0.03)), timing, epochs=2)
    parts = timing.summary["parts"]
    assert "input" not in parts
    assert (parts["step"]["times"], parts["step"]["total"]) == (6, pytest.approx(6 * 0.13))
    assert parts["step"]["median"] == pytest.approx(0.13, rel=0.006)


@pytest.mark.parametrize(("load", "bound"), [(0.06, "data-bound"), (0.0, "compute-bound")])
def test_a_slow_loader_is_data_bound_and_a_cached_one_is_not(
    tmp_path: Path, clock: Clock, load: float, bound: str
) -> None:
    timing = Timing(tmp_path / "timing.json", clock=clock)
    data = batches(lambda: clock.advance(load)) if load else batches().cache()
    fit(classifier(lambda: clock.advance(0.02)), data, timing, epochs=3)
    assert timing.summary["bound"] == bound


@pytest.mark.parametrize(("seconds", "warnings"), [(0.6, 1), (0.1, 0)])
def test_warns_of_a_layer_that_takes_long(
    tmp_path: Path, clock: Clock, seconds: float, warnings: int
) -> None:
    lines: list[str] = []
    timing = Timing(tmp_path / "timing.json", warn=lines.append, clock=clock)
    fit(classifier(lambda: clock.advance(seconds)), batches().take(2), timing)
    assert len(lines) == warnings
    for line in lines:
        # The median is known to half a percent.
        assert re.match(r"an iteration takes (59\d|60\d) ms", line)
        assert "compute-bound (the step " in line


def test_the_clock_of_the_machine_is_asked_by_itself(tmp_path: Path) -> None:
    timing = Timing(tmp_path / "timing.json")
    fit(classifier(lambda: time.sleep(0.02)), batches(), timing, epochs=3)
    assert seconds(timing)["step"] >= 11 * 0.02


def test_warns_once_and_names_slow_input(tmp_path: Path, clock: Clock) -> None:
    lines: list[str] = []
    timing = Timing(tmp_path / "timing.json", warn=lines.append, clock=clock)
    data = batches(lambda: clock.advance(1.0)).repeat(7)
    fit(classifier(lambda: clock.advance(0.25)), data, timing, At(timing, lambda _: None), epochs=3)
    (line,) = lines
    assert line.startswith("an iteration takes 12")
    assert (
        "data-bound (waiting for input 80%, the step 20%, callbacks 0%); keep images smaller"
        in line
    )


def test_warns_in_the_first_epoch_already(tmp_path: Path, clock: Clock) -> None:
    steps: list[int] = []
    timing = Timing(
        tmp_path / "timing.json",
        warn=lambda line: steps.append(int(model.optimizer.iterations.numpy())),
        clock=clock,
    )
    model = classifier(lambda: clock.advance(1.0))
    fit(model, batches().repeat(9), timing)
    assert steps == [21]  # the first does not count


@pytest.mark.parametrize("eagerly", [False, True])
def test_fetching_apart_changes_nothing_and_traces_once(tmp_path: Path, eagerly: bool) -> None:
    plain, timed = (classifier(lambda: None, run_eagerly=eagerly) for _ in range(2))
    layer = timed.layers[0]
    fit(plain, batches(), epochs=3)
    before = layer.traced
    fit(timed, batches(), Timing(tmp_path / "timing.json"), GradientClipping(), epochs=3)
    assert layer.traced - before == (12 if eagerly else 1)  # though the last batch is smaller
    for left, right in zip(plain.get_weights(), timed.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert "_make_function" not in vars(timed)
    assert timed.train_function is None


def test_a_step_that_is_traced_anew_is_no_iteration(tmp_path: Path) -> None:
    layers = [keras.layers.Dense(2, name=name) for name in ("low", "middle", "high")]
    model = keras.Sequential([keras.Input((3,)), *layers])
    timing = Timing(tmp_path / "timing.json")
    model.compile("sgd", "mse")
    data = tf.data.Dataset.from_tensors((X, X[:, :2]))
    fit(model, data, timing, GradientClipping(), Freezing("low|middle", every=2), epochs=5)
    assert timing.summary["parts"]["first_step"]["times"] == 3
    assert timing.summary["parts"]["iteration"]["times"] == 2


def test_weighted_samples_and_data_of_unknown_length(tmp_path: Path) -> None:
    timing = Timing(tmp_path / "timing.json")
    model = classifier()
    weights = np.ones(14, "float32")
    model.fit(X, Y, sample_weight=weights, batch_size=4, epochs=2, verbose=0, callbacks=[timing])
    assert timing.summary["parts"]["input"]["times"] == 7
    with pytest.warns(UserWarning, match="ran out of data"):
        fit(model, batches().filter(lambda x, y: True), timing, epochs=2)
    assert timing.summary["parts"]["input"]["times"] == 7


def test_a_resumed_training_reports_all_of_it(tmp_path: Path, clock: Clock) -> None:
    first = Timing(tmp_path / "timing.json", clock=clock)
    rest = Timing(tmp_path / "timing.json", clock=clock)
    model = classifier(lambda: clock.advance(0.1))
    fit(model, batches(), first)
    state = json.loads(json.dumps(first.get_state()))
    restore = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: rest.set_state(state))
    fit(model, batches(), rest, restore, initial_epoch=1, epochs=2)
    parts = rest.summary["parts"]
    assert (parts["step"]["times"], parts["step"]["total"]) == (6, pytest.approx(0.6))
    assert parts["first_step"]["times"] == 2


def test_a_save_that_fails_is_still_no_callback(tmp_path: Path, clock: Clock) -> None:
    timing = Timing(tmp_path / "timing.json", clock=clock)

    def save() -> None:
        with timing.saving():
            clock.advance(2.0)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        save()
    clock.advance(5.0)
    assert seconds(timing) == {"checkpoints": 2.0}


@given(
    st.lists(st.floats(1e-5, 1e4), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.0, 1.0])
)
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    expected = np.quantile(values, share, method="inverted_cdf")
    assert durations.quantile(share) == pytest.approx(expected, rel=0.0051)
    again = Durations()
    again.set_state(json.loads(json.dumps(durations.get_state())))
    assert again.summary() == durations.summary()
    assert durations.summary()["total"] == pytest.approx(sum(values))
