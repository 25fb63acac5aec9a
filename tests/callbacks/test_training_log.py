"""The log of iterations: its form, its means, and that a resumed training writes the same."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from epochal.callbacks import TrainingLog
from tests.support.paths import ROOT
from tests.support.toys import two_classes

X, Y = two_classes(48, 3)
LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[\d{8}\] "
    r"(lr=\d\.\d\de[+-]\d\d, Train Loss = \d\.\d{3}e[+-]\d\d, Train Acc = \d\.\d{4}"
    r"|Val Loss = \d\.\d{3}e[+-]\d\d, Val Acc = \d\.\d{4})"
)
LECTURE = ROOT / "tests/golden/lecture_log.txt"


def compiled() -> keras.Model:
    """A classifier that always begins with the same weights."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    return model


def fit(
    model: keras.Model,
    log: TrainingLog,
    *more: keras.callbacks.Callback,
    epochs: int = 2,
    begin: int = 0,
) -> None:
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}
    model.fit(X, Y, epochs=epochs, initial_epoch=begin, callbacks=[log, *more], **options)


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "iterations.jsonl").read_text().splitlines()]


def test_lines_are_those_of_the_lecture(tmp_path: Path) -> None:
    fit(compiled(), TrainingLog(tmp_path, every=4))
    written = (tmp_path / "iterations.log").read_text().splitlines()
    assert [re.search(r"\[(\d+)\]", line)[1].lstrip("0") for line in written] == [
        "4",
        "6",
        "8",
        "12",
        "12",
    ]
    assert all(LINE.fullmatch(line) for line in written)


def test_the_pattern_fits_the_lectures_own_log() -> None:
    found = LECTURE.read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in found)
    losses = [
        float(match[1]) for line in found if (match := re.search(r"Train Loss = (\S+),", line))
    ]
    assert (len(found), len(losses), losses[0], losses[-1]) == (46, 45, 7.046, 6.534)


def test_means_are_of_the_iterations_since_the_last_line(tmp_path: Path) -> None:
    model = compiled()
    seen = []
    steps = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"]))
    )
    fit(model, TrainingLog(tmp_path, every=4), steps)
    losses = [
        mean * (batch + 1) - (seen[i - 1][1] * batch if batch else 0)
        for i, (batch, mean) in enumerate(seen)
    ]
    found = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    assert found == pytest.approx([np.mean(losses[i : i + 4]) for i in (0, 4, 8)], rel=1e-5)


class Losses(keras.callbacks.Callback):
    """Computes the loss of every image of a batch before the step."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[np.ndarray] = []

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:
        of_batch = slice(8 * batch, min(8 * batch + 8, PARTIAL))
        logits = self.model(X[of_batch])
        losses = keras.losses.sparse_categorical_crossentropy(Y[of_batch], logits, from_logits=True)
        self.steps.append(keras.ops.convert_to_numpy(losses))


PARTIAL = 33  # images: 5 steps, the last of one image


@pytest.mark.parametrize("validation_freq", [1, 2, 9])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_every_image_of_a_line_has_the_same_weight(
    tmp_path: Path, every: int, validation_freq: int
) -> None:
    model = compiled()
    losses = Losses()
    options = {
        "batch_size": 8,
        "epochs": 3,
        "shuffle": False,
        "verbose": 0,
        "validation_freq": validation_freq,
    }
    watching = [TrainingLog(tmp_path, every=every), losses]
    model.fit(X[:PARTIAL], Y[:PARTIAL], validation_data=(X, Y), callbacks=watching, **options)
    found = [line["loss"] for line in lines(tmp_path) if "loss" in line]
    expected = [
        np.mean(np.concatenate(losses.steps[i : i + every]))
        for i in range(0, 15 - every + 1, every)
    ]
    assert found == pytest.approx(expected, rel=1e-4)


def test_models_that_count_no_samples_have_steps_weighed_alike(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, every=1)
    log.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(0.1)))
    log.on_train_begin()
    for step, mean in enumerate((4.0, 3.0)):
        log.model.optimizer.iterations.assign(step + 1)
        log.on_train_batch_end(step, {"loss": mean})
    assert [line["loss"] for line in lines(tmp_path)] == [4.0, 2.0]


def test_a_state_of_steps_alone_begins_a_window(tmp_path: Path) -> None:
    model = compiled()
    log = TrainingLog(tmp_path, every=4)
    nothing = {"loss": 9.0, "accuracy": 9.0}
    old = {"seen": 2, "steps": 2, "marks": nothing, "carried": nothing}
    fit(model, log, keras.callbacks.LambdaCallback(on_train_begin=lambda logs: log.set_state(old)))
    assert all(line["loss"] < 2 for line in lines(tmp_path) if "loss" in line)


def test_metrics_that_somebody_resets_do_not_end_training(tmp_path: Path) -> None:
    model = compiled()
    evaluate = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: model.evaluate(X, Y, verbose=0)
    )
    fit(model, TrainingLog(tmp_path, every=1), evaluate)
    assert len([line for line in lines(tmp_path) if "loss" in line]) == 12


def test_lines_of_a_stopped_training_come_again_once(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    stopped = tmp_path / "stopped"
    fit(compiled(), TrainingLog(whole, every=4), epochs=3)
    model = compiled()
    log = TrainingLog(stopped, every=4)
    fit(model, log, epochs=1)
    state = log.get_state()
    weights = [variable.numpy() for variable in [*model.weights, *model.optimizer.variables]]
    fit(model, log, epochs=3, begin=1)
    with (stopped / "iterations.jsonl").open("a") as torn:
        torn.write('{"iteration": 5, "lo')
    for variable, value in zip([*model.weights, *model.optimizer.variables], weights, strict=True):
        variable.assign(value)
    again = TrainingLog(stopped, every=4)
    restore = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: again.set_state(state))
    fit(model, again, restore, epochs=3, begin=1)
    assert lines(stopped) == lines(whole)
    assert len((stopped / "iterations.log").read_text().splitlines()) == len(lines(whole))


def test_validation_that_is_made_again_replaces_its_line(tmp_path: Path) -> None:
    model = compiled()
    log = TrainingLog(tmp_path, every=4)
    fit(model, log, epochs=1)
    once = lines(tmp_path)
    again = TrainingLog(tmp_path, every=4)
    again.set_model(model)
    again.on_train_begin()
    again.on_epoch_end(0, {name: once[-1][name] for name in ("val_loss", "val_accuracy")})
    assert lines(tmp_path) == once
    assert len((tmp_path / "iterations.log").read_text().splitlines()) == len(once)


def test_a_second_fit_adds_to_the_log(tmp_path: Path) -> None:
    model = compiled()
    log = TrainingLog(tmp_path, every=4)
    fit(model, log, epochs=1)
    fit(model, log, epochs=1)
    assert [line["iteration"] for line in lines(tmp_path) if "loss" in line] == [4, 8, 12]


def test_refuses_no_iterations(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every must be at least 1 iteration, got 0"):
        TrainingLog(tmp_path, every=0)
