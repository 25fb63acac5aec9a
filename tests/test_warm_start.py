"""A run that starts from the weights of another: what it takes over, what it refuses, and what that is good for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from app import archive
from app.cli import main
from app.config import Augment, Config, Optim, Schedule
from app.data.pipeline import Position, evaluation_batches
from app.errors import UsageError
from app.evaluation.again import evaluate_again
from app.evaluation.predict import predict_logits
from app.runs import Run, find
from app.training import train as training
from app.training.checkpoints import Checkpoints, newest
from app.training.observers import freezing
from app.training.schedules import rate_callbacks
from app.training.setup import Setup, set_up, start
from app.training.steps import Callbacks
from tests.program import outcome

pytestmark = pytest.mark.usefixtures("determinism_ends_here")
LABELS = 20  # training images a class of the second task


def digits_folder(folder: Path, classes: range, training: int) -> Path:
    """The embedded digits of some classes as images: so many of each to train on, 20 to choose by, the rest to test."""
    data = load_digits()
    for number in classes:
        images = (data.images[data.target == number] * 15).astype("uint8")
        cuts = np.split(images, [training, training + 20])
        for split, some in zip(("train", "val", "test"), cuts, strict=True):
            place = folder / split / str(number)
            place.mkdir(parents=True)
            for i, image in enumerate(some):
                Image.fromarray(image).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def low(tmp_path_factory) -> Path:
    return digits_folder(tmp_path_factory.mktemp("data") / "low", range(5), 120)


@pytest.fixture(scope="module")
def high(tmp_path_factory) -> Path:
    return digits_folder(tmp_path_factory.mktemp("data") / "high", range(5, 10), LABELS)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def config(dataset: Path, **options: Any) -> Config:
    given = {"model": "lenet300", "epochs": 6, "augment": Augment(pad_crop=0), "batch_size": 50, **options}
    return Config(dataset=str(dataset), **given)


@pytest.fixture(scope="module")
def source(tmp_path_factory, low) -> Run:
    """A finished run on the digits 0 to 4, whose rate fell from 0.2 to 0.002."""
    folder = tmp_path_factory.mktemp("source")
    with inside(folder):
        run = training.train(config(low, epochs=12, learning_rate=0.2))
    return Run(folder / run.folder)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("app.signals.STOP.install", lambda: None)


def started(configuration: Config) -> tuple[Setup, Any]:
    setup = set_up(configuration)
    return setup, start(setup)


def fitted(setup: Setup) -> list[float]:
    """Trains as `train` does, without a folder; returns the mean loss of each epoch."""
    watching = [*rate_callbacks(setup.config, setup.batches.steps), *freezing(setup.config.optim), Moves(setup)]
    everyone = Callbacks(watching, add_history=True, model=setup.model, epochs=setup.config.epochs)
    batches = setup.batches.dataset(setup.strategy)
    return setup.model.fit(batches, callbacks=everyone, epochs=setup.config.epochs, verbose=0).history["loss"]


class Moves(keras.callbacks.Callback):
    """Moves the data from epoch to epoch, as checkpoints do."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.setup.batches.position.set(epoch, 0)


def accuracy(setup: Setup) -> float:
    size = setup.dataset.preprocessing.image_size
    logits, labels = predict_logits(setup.model, evaluation_batches(setup.dataset.test, size))
    return float(np.mean(np.argmax(logits, axis=1) == labels))


def best(run: Run) -> dict[str, np.ndarray]:
    arrays, _ = archive.load(run.checkpoints / "best")
    return {name.partition("/")[2]: array for name, array in arrays.items()}


def test_weights_are_taken_over_and_nothing_else(source, low) -> None:
    setup, origin = started(config(low, init_from=str(source.folder)))
    stored = best(source)
    assert {weight.path for weight in setup.model.weights} == set(stored)
    for weight in setup.model.weights:
        np.testing.assert_array_equal(weight, stored[weight.path])
    optimizer = {v.path: v.numpy() for v in setup.model.optimizer.variables if "learning_rate" not in v.path}
    assert optimizer
    assert not any(value.any() for value in optimizer.values())
    assert (origin.learning_rate, origin.fresh_classes) == (0.002, ())


def test_resuming_restores_the_momenta_that_a_start_leaves_behind(source, low) -> None:
    run = find(str(source.folder))
    setup = set_up(config(low, epochs=12, learning_rate=0.2))
    checkpoint = newest(run.checkpoints, pytest.fail)
    assert checkpoint is not None
    saver = Checkpoints(run.checkpoints, seconds=1, position=Position(), stopping=lambda: False, identity={})
    saver.set_model(setup.model)
    saver.resume(checkpoint)
    momenta = [variable for variable in setup.model.optimizer.variables if "momentum" in variable.path]
    assert len(momenta) == 6
    assert all(variable.numpy().any() for variable in momenta)


def test_logits_go_by_the_names_of_classes(source, tmp_path) -> None:
    folder = digits_folder(tmp_path / "other", range(3, 7), 20)
    setup, origin = started(config(folder, init_from=str(source.folder)))
    fresh = set_up(config(folder)).model.get_layer("logits").kernel.numpy()
    kernel, stored = setup.model.get_layer("logits").kernel.numpy(), best(source)["logits/kernel"]
    np.testing.assert_array_equal(kernel[:, :2], stored[:, 3:])
    np.testing.assert_array_equal(kernel[:, 2:], fresh[:, 2:])
    assert (origin.known_classes, origin.fresh_classes) == (("3", "4"), ("5", "6"))
    told = origin.lines(setup.config, setup.batches.steps)[0]
    assert "knows 2 of the 4 classes by name; the logits of 5, 6 start fresh" in told


def test_images_are_standardised_as_the_network_saw_them(source, high) -> None:
    setup, _ = started(config(high, init_from=str(source.folder)))
    before = source.read_json("data.json")
    assert setup.model.get_layer("standardize").mean == before["mean"]
    assert list(setup.dataset.preprocessing.deviation) == before["deviation"]
    assert set_up(config(high)).model.get_layer("standardize").mean != before["mean"]
    hidden = keras.Model(setup.model.input, setup.model.get_layer("logits").input)
    images = np.arange(64, dtype="uint8").reshape(1, 8, 8, 1)
    stored = best(source)
    x = ((images - before["mean"]) / before["deviation"]).reshape(1, 64)
    for name in ("fc1", "fc2"):
        x = np.maximum(x @ stored[f"{name}/kernel"] + stored[f"{name}/bias"], 0)
    np.testing.assert_allclose(hidden(images), x, rtol=1e-4, atol=1e-4)


def test_going_on_at_the_last_rate_spares_the_spike_of_the_first(source, low) -> None:
    """Row B22: after the decay the original rate undoes what was learned, and the user is warned."""
    losses, warned = {}, {}
    for rate in (0.002, 0.2):
        setup, origin = started(config(low, init_from=str(source.folder), learning_rate=rate, epochs=2))
        warned[rate] = origin.lines(setup.config, setup.batches.steps)[1:]
        losses[rate] = fitted(setup)[0]
    last = float(source.read_json("result.json")["validation_loss"])
    print(f"loss of the first epoch: {losses}")
    assert losses[0.2] > 3 * losses[0.002]
    assert losses[0.002] < last
    assert warned[0.002] == []
    assert "jumps from 0.002, the last one there, to 0.2" in warned[0.2][0]


def test_a_warm_up_is_no_jump(source, low) -> None:
    given = config(low, init_from=str(source.folder), learning_rate=0.05, schedule=Schedule(warm_up=1))
    _, origin = started(given)
    assert origin.lines(given, 100)[1:] == []
    assert len(origin.lines(replace(given, schedule=Schedule()), 100)) == 2


def test_what_was_learned_on_0_to_4_helps_with_5_to_9(source, high) -> None:
    """Row J16: 100 labels, the same number of steps and the same rates."""
    found: dict[str, list[float]] = {"scratch": [], "warm": []}
    for seed in (0, 1):
        for name, options in (("scratch", {}), ("warm", {"init_from": str(source.folder)})):
            setup, _ = started(config(high, seed=seed, learning_rate=0.02, **options))
            fitted(setup)
            found[name].append(accuracy(setup))
    print(found)
    assert min(found["warm"]) > max(found["scratch"]) + 0.02


def test_a_frozen_body_is_that_of_the_source_after_training(source, high) -> None:
    setup, _ = started(config(high, init_from=str(source.folder), optim=Optim(frozen="^fc"), learning_rate=0.1))
    fitted(setup)
    stored = best(source)
    for weight in setup.model.weights:
        assert (weight.numpy().tobytes() == stored[weight.path].tobytes()) == weight.path.startswith("fc")


class StopAt:
    """Asks to stop at the n-th time it is asked whether to."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_resumed_half_thawed_and_without_its_source_it_ends_with_the_same_bytes(
    source, high, tmp_path, monkeypatch
) -> None:
    origin = shutil.copytree(source.folder, tmp_path / "origin")
    thawing = Optim(frozen="^fc", unfreeze_every=1, rate_growth=0.5, clip_norm=1.0)
    given = config(high, init_from=str(origin), optim=thawing, epochs=3, learning_rate=0.1)
    whole = outcome(training.train(replace(given, name="whole")).folder)
    for name, count in (("first", 1), ("thawing", 7)):  # 2 steps an epoch, and as many questions
        stopped = replace(given, name=name)
        with monkeypatch.context() as patch:
            patch.setattr("app.training.train.STOP.deferred", lambda count=count: asked(StopAt(count)))
            with pytest.raises(KeyboardInterrupt):
                training.train(stopped)
        origin.rename(tmp_path / "elsewhere")
        training.resume(find(name), stopped)
        (tmp_path / "elsewhere").rename(origin)
        assert outcome(find(name).folder) == whole
    figures = evaluate_again(find("whole"))
    assert figures["test_accuracy"] == find("whole").read_json("result.json")["test_accuracy"]


@contextmanager
def asked(stop: StopAt) -> Iterator[StopAt]:
    yield stop


def test_a_run_that_was_killed_before_its_first_checkpoint_needs_the_same_source(source, high) -> None:
    given = config(high, init_from=str(source.folder), name="killed", epochs=1)
    run = training.train(given)
    shutil.rmtree(run.checkpoints)
    changed = run.read_json("environment.json")
    changed["init_from"]["weights"] = "0" * 64
    run.write_json("environment.json", changed)
    with pytest.raises(UsageError, match=r"not the weights that runs/killed was begun with"):
        training.resume(run, given)


def words(dataset: Path, source: Run, *more: str) -> list[str]:
    return ["train", "--init-from", str(source.folder), "--dataset", str(dataset), *more]


def test_the_network_and_the_last_rate_are_the_sources_unless_given(source, high, capsys) -> None:
    assert main([*words(high, source), "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "model: lenet300\n" in shown
    assert "learning_rate: 0.002\n" in shown
    assert f"dataset: {high}\n" in shown
    Path("given.yaml").write_text("learning_rate: 0.3\nmodel: mlp\n")
    assert main(["train", "--init-from", str(source.folder), "--config", "given.yaml", "--print-config"]) == 0
    shown = capsys.readouterr().out
    assert "model: mlp\n" in shown
    assert "learning_rate: 0.3\n" in shown
    assert f"dataset: {source.folder.parents[1]}" not in shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "mlp"], "has model lenet300, not mlp; leave --model out"),
        (["--activation", "tanh"], "has activation None, not tanh"),
        (
            ["--image-size", "16"],
            "has another network: fc1/kernel [64, 300] stands there where ours has fc1/kernel [256, 300]",
        ),
    ],
)
def test_another_architecture_is_refused_in_one_line(more, message, source, high, capsys) -> None:
    assert_refused(2, message, words(high, source, *more), capsys)


def test_images_of_other_channels_are_refused_in_one_line(source, tmp_path_factory, capsys) -> None:
    folder = tmp_path_factory.mktemp("colours")
    for number in range(6):
        (folder / str(number % 2)).mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 9, 80)).save(folder / str(number % 2) / f"{number}.png")
    assert_refused(2, "reads 1 channel(s)", words(folder, source), capsys)


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("result.json", 2, "has not finished training; run: epochal train --resume"),
        ("history.csv", 4, "does not tell the last learning rate"),
        ("config.yaml", 2, "no run there"),
        ("data.json", 4, "data.json is missing or damaged"),
        ("checkpoints/best/arrays.npz", 4, "arrays.npz is missing"),
    ],
)
def test_a_source_that_is_not_whole_is_one_line(file, code, message, source, high, tmp_path_factory, capsys) -> None:
    damaged = Run(shutil.copytree(source.folder, tmp_path_factory.mktemp("damaged") / "run"))
    (damaged.folder / file).unlink()
    assert_refused(code, message, words(high, damaged), capsys)


def assert_refused(code: int, message: str, arguments: list[str], capsys) -> None:
    assert main(arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(Path.cwd().iterdir())
