"""The contract that every exported callback keeps."""

import importlib
import inspect
import io
import json
import pathlib
import re

import keras
import numpy as np
import pytest

from epochal import callbacks
from epochal.callbacks.parts.monitor import direction, improves
from epochal.callbacks.parts.phase import Phase
from tests.support.clock import Clock
from tests.support.toys import two_classes

FOLDER = pathlib.Path(callbacks.__file__).parent
X, Y = two_classes(24, 3)

# Each with settings under which training is to go as if it were not there, but with all its hooks
# at work.
QUIET = {
    "Budget": lambda folder: callbacks.Budget(1e6, clock=Clock()),  # states are then equal
    "ActivationMonitor": lambda folder: callbacks.ActivationMonitor(
        folder / "a.jsonl", batch=X, validation=[X]
    ),
    "BestWeights": lambda folder: callbacks.BestWeights(folder, top=2),
    "EarlyStopping": lambda folder: callbacks.EarlyStopping(patience=3),
    "ExponentialMovingAverage": lambda folder: callbacks.ExponentialMovingAverage(0),
    "Freezing": lambda folder: callbacks.Freezing("idle", every=1),
    "GradientClipping": lambda folder: callbacks.GradientClipping(1e6),
    "GradientFlow": lambda folder: callbacks.GradientFlow(folder / "flow.jsonl", batch=(X, Y)),
    "LossCurves": lambda folder: callbacks.LossCurves(
        folder / "losses.png", log=folder / "iterations.jsonl"
    ),
    "NanGuard": lambda folder: callbacks.NanGuard(keep_state=True),
    "PlateauDecay": lambda folder: callbacks.PlateauDecay(patience=99),
    "Progress": lambda folder: callbacks.Progress(images_per_epoch=24, stream=io.StringIO()),
    "RateSchedule": lambda folder: callbacks.RateSchedule(0.1, lambda step: 1.0),
    "SmallUpdates": lambda folder: callbacks.SmallUpdates(),
    "StepDecay": lambda folder: callbacks.StepDecay([99]),
    "StuckDecay": lambda folder: callbacks.StuckDecay(5, patience=99),
    "Timing": lambda folder: callbacks.Timing(folder / "timing.json"),
    "TrainingLog": lambda folder: callbacks.TrainingLog(folder, every=3),
    "WeightHistograms": lambda folder: callbacks.WeightHistograms(folder, batch=(X, Y)),
}
# Each with settings that make it act, for what must survive a stop.
ACTIVE = QUIET | {
    "EarlyStopping": lambda folder: callbacks.EarlyStopping(patience=3, min_delta=0.02),
    "ExponentialMovingAverage": lambda folder: callbacks.ExponentialMovingAverage(0.8),
    "GradientClipping": lambda folder: callbacks.GradientClipping(0.3),
    "PlateauDecay": lambda folder: callbacks.PlateauDecay(
        patience=1, min_delta=0.02, factor=0.5, cooldown=1
    ),
    "RateSchedule": lambda folder: callbacks.RateSchedule(0.1, lambda step: 0.9**step),
    "StepDecay": lambda folder: callbacks.StepDecay(every=1, factor=0.5),
    "StuckDecay": lambda folder: callbacks.StuckDecay(4, patience=1, gain=0.1, factor=0.5),
}
WALL_CLOCK = {"Timing"}  # whose state is never the same twice: test_timing.py moves the clock
WRITING = {
    "ActivationMonitor",
    "BestWeights",
    "GradientFlow",
    "LossCurves",
    "Timing",
    "TrainingLog",
    "WeightHistograms",
}
STATEFUL = WALL_CLOCK | {
    "BestWeights",
    "Budget",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "GradientClipping",
    "GradientFlow",
    "PlateauDecay",
    "Progress",
    "SmallUpdates",
    "StepDecay",
    "StuckDecay",
    "TrainingLog",
}


def classes():
    exported = (getattr(callbacks, name) for name in callbacks.__all__)
    return {item.__name__: item for item in exported if issubclass(item, keras.callbacks.Callback)}


class Last(keras.callbacks.Callback):
    """Stands in for a checkpoint: comes last, copies the state of `watched`, or hands it one."""

    def __init__(self, watched, state=None):
        super().__init__()
        self.watched = watched
        self.begin_with = state
        self.copy = None
        self.weights = None

    def on_train_begin(self, logs=None):
        if self.begin_with is not None:
            self.watched.set_state(self.begin_with)

    def on_epoch_end(self, epoch, logs=None):
        self.weights = self.model.get_weights()
        if hasattr(self.watched, "get_state"):
            self.copy = through_files(self.watched.get_state())


def through_files(state):
    """Returns `state` after numbers went through JSON and arrays through npz."""
    lists = {name: value for name, value in state.items() if isinstance(value, list)}
    numbers = json.loads(
        json.dumps({name: value for name, value in state.items() if name not in lists})
    )
    for name, arrays in lists.items():
        file = io.BytesIO()
        np.savez(file, *arrays)
        file.seek(0)
        with np.load(file, allow_pickle=False) as loaded:
            numbers[name] = [loaded[key] for key in loaded.files]
    return numbers


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    idle = keras.layers.Dense(2, name="idle")(
        inputs
    )  # its gradient is 0: frozen or not, it stays as it is
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs) + 0.0 * idle)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    model.first_weights = [np.array(weight) for weight in model.get_weights()]
    return model


def fit(model, *fit_callbacks, begin=0, end=3, weights=None):
    model.set_weights(model.first_weights if weights is None else weights)
    if begin == 0:
        model.optimizer.learning_rate = 0.1
    history = model.fit(
        X,
        Y,
        batch_size=8,
        initial_epoch=begin,
        epochs=end,
        shuffle=False,
        verbose=0,
        validation_data=(X, Y),
        callbacks=list(fit_callbacks),
    )
    return history.history


def test_every_exported_callback_is_held_to_the_contract():
    assert set(QUIET) == set(ACTIVE) == set(classes())
    assert {name for name, item in classes().items() if hasattr(item, "get_state")} == STATEFUL
    assert all(hasattr(classes()[name], "set_state") for name in STATEFUL)
    assert all(isinstance(item.phase, Phase) for item in classes().values())
    assert len({classes()[name].key for name in STATEFUL}) == len(STATEFUL)


def test_each_callback_has_a_file_of_its_own():
    for name, item in classes().items():
        file = FOLDER / (re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() + ".py")
        assert item.__module__ == f"epochal.callbacks.{file.stem}"
        assert item.__doc__
        module = importlib.import_module(item.__module__)
        defined = [
            value
            for value in vars(module).values()
            if inspect.isclass(value)
            and issubclass(value, keras.callbacks.Callback)
            and value.__module__ == item.__module__
        ]
        assert defined == [item]


@pytest.mark.parametrize("name", sorted(QUIET))
def test_training_is_the_same_and_nothing_stays_swapped_after_two_fits(name, model, tmp_path):
    alone = fit(model)
    weights = model.get_weights()
    callback = QUIET[name](tmp_path)
    for _ in range(2):
        history = fit(model, callback)
        assert {key: history[key] for key in alone} == alone
        for before, after in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
        assert "apply" not in vars(model.optimizer)
        assert not {"make_train_function", "_make_function", "evaluate"} & set(vars(model))


@pytest.mark.parametrize("name", sorted(ACTIVE))
def test_writes_nothing_but_what_its_name_says(name, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fit(model, QUIET[name](tmp_path / "logs"))
    assert [path.name for path in tmp_path.iterdir()] == (["logs"] if name in WRITING else [])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", sorted(STATEFUL - WALL_CLOCK))
def test_a_fresh_instance_goes_on_from_the_state(name, model, tmp_path):
    whole = Last(ACTIVE[name](tmp_path))
    expected = fit(model, whole.watched, whole, end=4)
    first = Last(ACTIVE[name](tmp_path))
    fit(model, first.watched, first, end=2)
    rest = Last(ACTIVE[name](tmp_path), first.copy)
    history = fit(model, rest.watched, rest, begin=2, end=4, weights=first.weights)
    assert history == {key: values[2:] for key, values in expected.items()}
    assert_same(rest.copy, whole.copy)
    assert_same(rest.weights, whole.weights)


@pytest.mark.slow
def test_states_are_reset_when_training_begins(model, tmp_path):
    for name in sorted(STATEFUL - WALL_CLOCK):
        last = Last(ACTIVE[name](tmp_path))
        fit(model, last.watched, last)
        once = last.copy
        fit(model, last.watched, last)
        assert_same(last.copy, once)


def assert_same(left, right):
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)
    else:
        assert left == right


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"),
    [
        ("val_loss", "auto", -1),
        ("error_rate", "auto", -1),
        ("val_accuracy", "auto", 1),
        ("auc", "auto", 1),
        ("val_accuracy", "min", -1),
        ("score", "max", 1),
    ],
)
def test_direction(monitor, mode, expected):
    assert direction(monitor, mode) == expected


def test_direction_says_what_it_needs():
    with pytest.raises(ValueError, match=r"'score'.*mode='min' or 'max'"):
        direction("score")
    with pytest.raises(ValueError, match="got 'best'"):
        direction("loss", "best")


def test_only_a_finite_value_improves():
    assert improves(1.0, None, sign=-1)
    assert not any(
        improves(value, None, sign=1) for value in (float("nan"), float("inf"), float("-inf"))
    )
    assert improves(0.5, 1.0, sign=-1, min_delta=0.4)
    assert not improves(0.5, 1.0, sign=-1, min_delta=0.5)
