"""Starts from the weights of another run: what is taken over, what is refused, and the use."""

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal.app.commands.main import main
from epochal.app.config import Augment, Config, Optim, Schedule
from epochal.app.data.dataset import Dataset, RawDataset, Split
from epochal.app.data.load import load
from epochal.app.data.preprocessing import ImageShape
from epochal.app.data.sources import digits
from epochal.app.errors import UsageError
from epochal.app.evaluation.evaluate_run import evaluate_run
from epochal.app.store import arrays as archive
from epochal.app.store.run import Run
from epochal.app.store.runs import find
from epochal.app.training import train as training
from epochal.app.training.run.callback_list import freezing
from epochal.app.training.run.checkpoints import newest, restore_variables
from epochal.app.training.run.setup import Setup, set_up, start
from epochal.app.training.run.warm_start import standardised_like
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.learning_rate import rate_callbacks
from tests.support.messages import heard
from tests.support.program import StopAfter, outcome, saved

Loader = Callable[[Config], Dataset]

pytestmark = pytest.mark.usefixtures("determinism_ends_here")


def task(classes: range, training: int, config: Config) -> RawDataset:
    """The embedded digits of some classes: of each `training` to train on, 20 to choose by."""
    size = config.image_size or 8
    whole, _ = digits.load(size)
    return source_of(whole, classes, training, size)


def source_of(whole: Split, classes: range, training: int, size: int) -> RawDataset:
    positions = [np.flatnonzero(whole.labels == number) for number in classes]
    parts = zip(*(np.split(found, [training, training + 20]) for found in positions), strict=True)
    splits = {}
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        some = whole.subset(np.concatenate(part))
        splits[name] = replace(some, labels=(some.labels - classes[0]).astype("int32"))
    chosen = tuple(str(number) for number in classes)
    shape = ImageShape(channels=1, stored_size=size, image_size=size)
    return RawDataset(splits=splits, classes=chosen, shape=shape)


def loader(classes: range, training: int, whole: Split | None = None) -> Loader:
    """Returns what loads that task as `digits`, or one of other digits of 28 x 28 pixels."""

    def read(config: Config) -> RawDataset:
        if whole is None:
            return task(classes, training, config)
        return source_of(whole, classes, training, 28)

    return partial(load, sources={"digits": read})


LOW = loader(range(5), 120)
HIGH = loader(range(5, 10), 20)  # 100 labels, and none of the classes that the source knows


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


def config(**options: Any) -> Config:
    given = {
        "model": "lenet300",
        "epochs": 6,
        "augment": Augment(pad_crop=0),
        "batch_size": 50,
        **options,
    }
    return Config(**given)


SOURCE: dict[str, Any] = {
    "optimizer": "adam",
    "epochs": 12,
    "learning_rate": 0.03,
    "augment": Augment(pad_crop=1),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Run:
    """A finished run on the digits 0 to 4, whose rate fell from 0.03 to 0.0003."""
    folder = tmp_path_factory.mktemp("source")
    with inside(folder):
        run = training.train(config(**SOURCE), training.Session(load=LOW))
    return Run(folder / run.folder)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def started(configuration: Config, load: Loader) -> tuple[Setup, Any]:
    setup = set_up(configuration, load=load)
    return setup, start(setup)


def fitted(setup: Setup) -> list[float]:
    """Trains as `train` does, without a folder; returns the mean loss of each epoch."""
    watching = [
        *rate_callbacks(setup.config, setup.batches.steps),
        *freezing(setup.config.optim),
        Moves(setup),
    ]
    everyone = Callbacks(watching, add_history=True, model=setup.model, epochs=setup.config.epochs)
    batches = setup.batches.dataset(setup.strategy)
    epochs = setup.config.epochs
    return setup.model.fit(
        batches, callbacks=everyone, epochs=epochs, shuffle=False, verbose=0
    ).history["loss"]


class Moves(keras.callbacks.Callback):
    """Moves the data from epoch to epoch, as checkpoints do."""

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.setup = setup

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.setup.batches.position.set(epoch, 0)


def best(run: Run) -> dict[str, np.ndarray]:
    arrays, _ = archive.load(run.checkpoints / "best")
    return {name.partition("/")[2]: array for name, array in arrays.items()}


def test_weights_are_taken_over_and_nothing_else(source) -> None:
    setup, origin = started(config(init_from=str(source.folder)), LOW)
    stored = best(source)
    assert {weight.path for weight in setup.model.weights} == set(stored)
    for weight in setup.model.weights:
        np.testing.assert_array_equal(weight, stored[weight.path])
    optimizer = {
        v.path: v.numpy() for v in setup.model.optimizer.variables if "learning_rate" not in v.path
    }
    assert optimizer
    assert not any(value.any() for value in optimizer.values())
    assert (origin.learning_rate, origin.fresh_classes) == (0.0003, ())


@pytest.mark.parametrize(
    "precision", ["float32", "mixed_float16"]
)  # the latter's optimizer is wrapped by a loss scale
def test_an_optimizer_that_keeps_the_weights_keeps_those_taken_over(source, precision: str) -> None:
    own = {"optimizer": "schedulefreeadamw", "optim": Optim(), "precision": precision}
    setup, _ = started(config(init_from=str(source.folder), **own), LOW)
    kept = [
        variable.numpy()
        for variable in setup.model.optimizer.variables
        if "momentum" in variable.path
    ]
    for own, weight in zip(kept, setup.model.trainable_variables, strict=True):
        np.testing.assert_array_equal(own, weight)


def test_resuming_restores_the_momenta_that_a_start_leaves_behind(source) -> None:
    run = find(str(source.folder))
    setup = set_up(config(**SOURCE), load=LOW)
    checkpoint = newest(run.checkpoints)
    assert checkpoint is not None
    restore_variables(checkpoint, setup.model)
    momenta = [
        variable for variable in setup.model.optimizer.variables if "momentum" in variable.path
    ]
    assert len(momenta) == 6
    assert all(variable.numpy().any() for variable in momenta)


def test_logits_go_by_the_names_of_classes(source) -> None:
    middle = loader(range(3, 7), 20)
    setup, origin = started(config(init_from=str(source.folder)), middle)
    fresh = set_up(config(), load=middle).model.get_layer("logits").kernel.numpy()
    kernel = setup.model.get_layer("logits").kernel.numpy()
    stored = best(source)["logits/kernel"]
    np.testing.assert_array_equal(kernel[:, :2], stored[:, 3:])
    np.testing.assert_array_equal(kernel[:, 2:], fresh[:, 2:])
    assert (origin.known_classes, origin.fresh_classes) == (("3", "4"), ("5", "6"))
    told = origin.lines(setup.config, setup.batches.steps)[0]
    assert "knows 2 of the 4 classes by name; the logits of 5, 6 start fresh" in told


def test_images_are_standardised_as_the_network_saw_them(source) -> None:
    setup, _ = started(config(init_from=str(source.folder)), HIGH)
    before = source.data_card()
    assert setup.model.get_layer("standardize").mean == list(before.mean)
    assert setup.dataset.preprocessing.deviation == before.deviation
    assert set_up(config(), load=HIGH).model.get_layer("standardize").mean != list(before.mean)
    hidden = keras.Model(setup.model.inputs[0], setup.model.get_layer("logits").input)
    images = np.arange(64, dtype="uint8").reshape(1, 8, 8, 1)
    stored = best(source)
    x = ((images - before.mean) / before.deviation).reshape(1, 64)
    for name in ("hidden1", "hidden2"):
        x = np.maximum(x @ stored[f"{name}/kernel"] + stored[f"{name}/bias"], 0)
    np.testing.assert_allclose(hidden(images), x, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_tenth_of_the_highest_rate_spares_the_spike_of_that_rate(source) -> None:
    """After the decay the original rate undoes what was learned, and the user is warned."""
    losses = {}
    warned = {}
    for rate in (0.003, 0.03):
        given = {**SOURCE, "init_from": str(source.folder), "learning_rate": rate, "epochs": 1}
        setup, origin = started(config(**given), LOW)
        warned[rate] = origin.lines(setup.config, setup.batches.steps)[1:]
        losses[rate] = fitted(setup)[0]
    print(f"loss of the first epoch: {losses}, of the last one before: {_last_loss(source)}")
    assert losses[0.003] < 1.5 * _last_loss(source)
    assert losses[0.03] > 2 * _last_loss(source)
    assert warned[0.003] == [
        "learning rate 0.1 x 0.03 = 0.003: it was trained at up to 0.03 and ended at 0.0003"
    ]
    assert "a learning rate of 0.03 may spoil what was learned" in warned[0.03][0]


def _last_loss(run: Run) -> float:
    rows = list(csv.DictReader((run.folder / "history.csv").read_text().splitlines()))
    return float(rows[-1]["loss"])


def test_the_log_tells_where_the_weights_come_from(source) -> None:
    given = config(init_from=str(source.folder), name="told", learning_rate=0.03, epochs=1)
    with heard() as said, pytest.raises(KeyboardInterrupt):
        training.train(given, training.Session(load=LOW, stop=StopAfter(1)))
    log = find("told").log_file.read_text()
    logged = [line[20:] for line in log.splitlines()][:3]
    assert [line.split(":")[0] for line in logged] == [
        "started",
        f"starting from {source.folder}",
        "warning",
    ]
    assert set(logged[1:]) <= set("\n".join(said).splitlines())


def test_a_warm_up_is_no_jump(source) -> None:
    given = config(init_from=str(source.folder), learning_rate=0.05, schedule=Schedule(warm_up=1))
    _, origin = started(given, LOW)
    assert origin.lines(given, 100)[1:] == []
    assert len(origin.lines(replace(given, schedule=Schedule()), 100)) == 2


@pytest.mark.parametrize(
    ("rate", "last_rate", "line"),
    [
        (2e-6, 1e-6, "will change little"),
        (0.002, 1e-6, None),
        (0.01, 1e-6, "learning rate 0.1 x 0.1 = 0.01: it was trained at up to 0.1"),
        (0.04, 1e-6, "may spoil what was learned"),
        (0.05, 0.05, "learning rate 0.05, its last: it was trained at up to 0.1"),
        (0.1, 0.05, None),
    ],
)
def test_the_rate_to_go_on_at_is_a_share_of_the_highest_or_the_last(
    rate: float, last_rate: float, line: str | None, source: Run
) -> None:
    given = config(init_from=str(source.folder), learning_rate=rate)
    _, origin = started(given, LOW)
    lines = replace(origin, learning_rate=last_rate, peak_rate=0.1).lines(given, 100)[1:]
    assert [line in shown for shown in lines] == ([True] if line else [])


@pytest.mark.slow
@pytest.mark.tfds
@pytest.mark.skipif(
    not Path(os.environ.get("TFDS_DATA_DIR", "")).joinpath("mnist").exists(), reason="no MNIST"
)
def test_what_was_learned_on_0_to_4_helps_with_5_to_9() -> None:
    """MNIST, 100 labels, the same steps at the same rate."""
    whole = load(Config(dataset="mnist")).train
    found = {}
    given = {"model": "resnet8", "epochs": 10, "learning_rate": 0.02, "batch_size": 20}
    low = training.Session(load=loader(range(5), 400, whole))
    first = config(**{**given, "epochs": 4, "batch_size": 50, "learning_rate": 0.05})
    run = training.train(first, low)
    high = training.Session(load=loader(range(5, 10), 20, whole))
    for name, options in (("scratch", {}), ("warm", {"init_from": str(run.folder.absolute())})):
        ended = training.train(config(**given, **options, name=name), high)
        found[name] = ended.result().test.accuracy
    print(found)
    assert found["warm"] > found["scratch"] + 0.1


def test_a_frozen_body_is_that_of_the_source_after_training(source) -> None:
    setup, _ = started(
        config(init_from=str(source.folder), optim=Optim(frozen="^hidden"), learning_rate=0.1), HIGH
    )
    fitted(setup)
    stored = best(source)
    for weight in setup.model.weights:
        assert (
            weight.numpy().tobytes() == stored[weight.path].tobytes()
        ) == weight.path.startswith("hidden")


@pytest.mark.slow
def test_resumed_half_thawed_and_without_its_source_it_ends_with_the_same_bytes(
    source, tmp_path
) -> None:
    origin = shutil.copytree(source.folder, tmp_path / "origin")
    thawing = Optim(frozen="^hidden", unfreeze_every=1, rate_growth=0.5, clip_norm=1.0)
    given = config(init_from=str(origin), optim=thawing, epochs=3, learning_rate=0.1)
    whole = outcome(
        training.train(replace(given, name="whole"), training.Session(load=HIGH)).folder
    )
    stopped = replace(given, name="stopped")
    with pytest.raises(KeyboardInterrupt):
        training.train(stopped, training.Session(load=HIGH, stop=StopAfter(7)))
    assert (1, 0) < saved(Path("runs/stopped")) < (2, 0)
    shutil.rmtree(origin)
    training.resume(find("stopped"), stopped, training.Session(load=HIGH))
    assert outcome(find("stopped").folder) == whole
    figures = evaluate_run(find("stopped"), load=HIGH)
    assert figures["test_accuracy"] == whole["result"]["test_accuracy"]


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_checkpoint_needs_the_same_source(source) -> None:
    given = config(init_from=str(source.folder), name="killed", epochs=1)
    run = training.train(given, training.Session(load=HIGH))
    shutil.rmtree(run.checkpoints)
    begun = run.environment()
    other = replace(begun.init_from, weights="0" * 64)
    run.write_environment(replace(begun, init_from=other))
    with pytest.raises(UsageError, match=r"not the weights that runs/killed was begun with"):
        training.resume(run, given, training.Session(load=HIGH))


def words(source: Run, *more: str) -> list[str]:
    return ["train", "--init-from", str(source.folder), *more]


def shown_rate(source: Run, capsys: Any, *more: str) -> float:
    assert main(words(source, "--print-config", *more)) == 0
    shown = capsys.readouterr().out
    return float(re.search(r"^learning_rate: (.*)$", shown, re.MULTILINE)[1])


def test_the_rate_is_a_tenth_of_the_sources_highest(source: Run, capsys: Any) -> None:
    adam = ("--optimizer", "adam")
    assert shown_rate(source, capsys, *adam) == 0.003
    # The highest rate was that of batches of 50 images, as here, whatever it is written for.
    for_hundred = ("--schedule.batch", "100")
    assert shown_rate(source, capsys, *adam, *for_hundred, "--batch-size", "50") == 0.006
    assert shown_rate(source, capsys, *adam, *for_hundred) == 0.006
    assert shown_rate(source, capsys, *adam, *for_hundred, "--batch-size", "100") == 0.003
    assert shown_rate(source, capsys, "--optimizer", "sgd") == 0.01
    assert shown_rate(source, capsys, *adam, "--learning-rate", "0.2") == 0.2


def test_the_network_is_the_sources_unless_given(source, capsys) -> None:
    assert main(words(source, "--print-config")) == 0
    shown = capsys.readouterr().out
    assert "model: lenet300\n" in shown
    assert "batch_size: 50\n" in shown
    assert (
        f"image_size: {source.data_card().image_size}\n" in shown
    )  # which its configuration leaves open
    Path("given.yaml").write_text("learning_rate: 0.3\nmodel: mlp\n")
    assert main(words(source, "--config", "given.yaml", "--print-config")) == 0
    shown = capsys.readouterr().out
    assert "model: mlp\n" in shown
    assert "learning_rate: 0.3\n" in shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "mlp"], "has model lenet300, not mlp; leave --model out"),
        (["--activation", "tanh"], "has activation null, not tanh"),
        (["--pilot"], "--pilot trains a smaller network"),
        (
            ["--image-size", "16"],
            "has another network: hidden1/kernel [64, 300] stands there where ours has "
            "hidden1/kernel [256, 300]",
        ),
    ],
)
def test_another_architecture_is_refused_in_one_line(more, message, source, capsys) -> None:
    assert_refused(2, message, words(source, *more), capsys)


def test_images_of_other_channels_are_refused(source) -> None:
    dataset = set_up(config(), load=HIGH).dataset
    coloured = replace(dataset, preprocessing=replace(dataset.preprocessing, channels=3))
    with pytest.raises(UsageError, match=r"reads 1 channel\(s\), digits has 3"):
        standardised_like(source, coloured)


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("result.json", 2, "has not finished training; run: epochal train --resume"),
        ("config.yaml", 2, "no run there"),
        ("data.json", 4, "data.json is missing or damaged"),
        ("checkpoints/best/arrays.npz", 4, "arrays.npz is missing"),
    ],
)
def test_a_source_that_is_not_whole_is_one_line(
    file, code, message, source, tmp_path_factory, capsys
) -> None:
    damaged = Run(shutil.copytree(source.folder, tmp_path_factory.mktemp("damaged") / "run"))
    (damaged.folder / file).unlink()
    assert_refused(code, message, words(damaged), capsys)


def assert_refused(code: int, message: str, arguments: list[str], capsys) -> None:
    assert main(arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not list(Path.cwd().iterdir())
