"""Runs as a sweep makes them: in a given folder, on one of several splits, ended early."""

import gc
import json
import shutil
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from epochal.app.commands import train as command
from epochal.app.config import Augment, Config, Data, Optim, Schedule, Stopping
from epochal.app.config.files import read_config_file
from epochal.app.data.dataset import CachedImages, Dataset
from epochal.app.data.load import load
from epochal.app.errors import EpochalError, RunInUse, StorageError, UsageError
from epochal.app.evaluation.evaluate_run import evaluate_run
from epochal.app.evaluation.pareto import compare_runs
from epochal.app.export.export import export
from epochal.app.export.variants import Variant
from epochal.app.store import arrays as archive
from epochal.app.store.data_card import Counts
from epochal.app.store.result import Figures
from epochal.app.store.run import Run
from epochal.app.training import train as training
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.resume import check_identity
from epochal.app.training.run.setup import set_up
from epochal.app.tuning.worker import forget
from tests.support.messages import heard
from tests.support.program import StopAfter, outcome

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(
    model="softmax",
    epochs=2,
    batch_size=256,
    learning_rate=0.01,
    augment=Augment(pad_crop=0),
    data=Data(split="kfold:3/2"),
)
# Momentum, dropout, augmentation and a rate that falls to nothing over all the epochs.
COURSE = Config(
    model="mlp",
    epochs=4,
    batch_size=256,
    learning_rate=0.05,
    schedule=Schedule(shape="cosine"),
    stopping=Stopping(keep=2),
)


@dataclass(frozen=True)
class Unreadable(CachedImages):
    """Images that must not be looked at."""

    def read(self, indices: Any) -> Any:
        raise AssertionError("the test split was read")


def load_sealed(config: Config) -> Dataset:
    """A data set whose test images cannot be read."""
    dataset = load(config)
    return replace(
        dataset, test=replace(dataset.test, images=Unreadable(dataset.test.images.tensor))
    )


SEALED = training.Session(load=load_sealed)


def ended_after(config: Config, after: int | None) -> Config:
    return replace(config, stopping=replace(config.stopping, after=after))


@pytest.fixture(scope="module")
def trial(tmp_path_factory) -> Run:
    """A finished run without test figures, whose test images could not be read."""
    run = Run(tmp_path_factory.mktemp("sweep") / "trials/0001")
    result = training.train_at(run, CONFIG, test=False, session=SEALED)
    assert result == run.result()
    return run


@pytest.fixture
def unfinished(trial: Run, tmp_path: Path) -> Run:
    """A copy whose training ended, but not its evaluation."""
    run = Run(Path(shutil.copytree(trial.folder, tmp_path / "copy")))
    (run.folder / "result.json").unlink()
    return run


# without the test split


def test_a_trial_has_validation_figures_alone(trial: Run) -> None:
    result = trial.result()
    card = trial.data_card()
    assert result.test is None
    assert result.validation.count == card.counts.validation == 479
    assert card.evaluated == ("validation",)
    assert result.epochs == 2


def test_it_has_no_pages_which_would_show_the_test_split(trial: Run) -> None:
    for name in ("report.html", "confusion.png"):
        assert not (trial.folder / name).exists()


def test_with_test_the_test_split_is_read(unfinished: Run) -> None:
    with pytest.raises(AssertionError, match="the test split was read"):
        training.train_at(unfinished, CONFIG, test=True, session=SEALED)


def test_a_result_is_returned_at_once(trial: Run) -> None:
    session = training.Session(load=lambda config: pytest.fail("trained again"))
    assert training.train_at(trial, CONFIG, test=False, session=session) == trial.result()


def test_a_trial_in_use_is_refused(trial: Run) -> None:
    with trial.locked(), pytest.raises(RunInUse, match="in use by process"):
        training.train_at(trial, CONFIG, test=False)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot make .*/file/trial: Not a directory"):
        training.train_at(Run(tmp_path / "file/trial"), CONFIG, test=False)


def test_its_summary_is_of_validation(trial: Run, capsys) -> None:
    assert command.run(["--resume", str(trial.folder)], 0) == 0
    shown = capsys.readouterr().out
    accuracy = trial.result().validation.accuracy
    assert shown.startswith(f"validation accuracy {accuracy:.4f} (95 % interval ")
    assert ", 479 images), validation loss " in shown


@pytest.mark.slow
def test_resumed_by_hand_it_stays_without_test(unfinished: Run, trial: Run) -> None:
    assert command.run(["--resume", str(unfinished.folder)], 0) == 0
    assert outcome(unfinished.folder) == outcome(trial.folder)


@pytest.mark.slow
def test_told_to_at_last_it_evaluates_test(unfinished: Run, trial: Run) -> None:
    result = training.train_at(unfinished, ended_after(CONFIG, 2), test=True)
    assert result.test.count == 359
    assert read_config_file(unfinished.folder / "config.yaml").stopping.after == 2
    assert unfinished.data_card().evaluated == ("validation", "test")
    assert (unfinished.folder / "report.html").read_text().count("Hardest test images") == 1
    before = trial.result()
    assert replace(result, test=None, wall_seconds=before.wall_seconds) == before


def test_evaluate_gives_test_figures_too(trial: Run) -> None:
    figures = evaluate_run(trial)
    stored = trial.result()
    assert Figures.from_dict(figures, "validation_") == stored.validation
    assert figures["test_count"] == 359


def test_pareto_leaves_it_out(trial: Run) -> None:
    with pytest.raises(
        UsageError, match="0001: only validation was evaluated, it has no test figures"
    ):
        compare_runs([str(trial.folder)])


@pytest.mark.slow
def test_its_export_is_proven_by_its_own_predictions(trial: Run, tmp_path: Path) -> None:
    with heard() as lines:
        exported = export(trial, "model", Variant(), tmp_path)
    assert exported.folder == tmp_path / "model/1"
    assert any(line.startswith("asked: 359 test images") for line in lines)


# ended before all epochs


@pytest.mark.slow
@pytest.mark.parametrize("average", [None, 0.9])
def test_ended_twice_it_ends_with_the_bytes_of_one_that_went_straight_through(
    tmp_path: Path, average: float | None
) -> None:
    config = replace(COURSE, optim=Optim(ema=average))
    whole = Run(tmp_path / "whole")
    parts = Run(tmp_path / "parts")
    assert training.train_at(whole, config, test=False).epochs == 4
    for after in (1, 3):
        assert training.train_at(parts, ended_after(config, after), test=False).epochs == after
        assert parts.result().best_epoch <= after
        (parts.folder / "result.json").unlink()
    parts.write_config(config)
    with parts.locked():
        training.resume(parts, read_config_file(parts.folder / "config.yaml"))
    assert outcome(parts.folder) == outcome(whole.folder)


def test_a_rung_may_end_before_anything_thaws() -> None:
    config = Config(epochs=9, optim=Optim(frozen="stem", unfreeze_every=3))
    assert replace(config, stopping=Stopping(after=1)).last_epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer", ["sgd", "diagonalnewton"]
)  # the latter measures curvatures before each epoch
def test_stopped_and_gone_on_with_it_ends_with_the_same_bytes(
    tmp_path: Path, optimizer: str
) -> None:
    whole = Run(tmp_path / "whole")
    stopped = Run(tmp_path / "stopped")
    course = replace(COURSE, optimizer=optimizer)
    training.train_at(whole, course, test=False)
    session = training.Session(stop=StopAfter(9))
    with pytest.raises(KeyboardInterrupt):
        training.train_at(stopped, course, test=False, session=session)
    assert not stopped.finished
    assert (
        max(stopped.checkpoints.glob("epoch-*")).name[-8:] > "00000000"
    )  # in the midst of an epoch
    training.train_at(stopped, course, test=False)
    assert outcome(stopped.folder) == outcome(whole.folder)


def test_a_run_of_a_version_that_knew_fewer_settings_goes_on(tmp_path: Path) -> None:
    now = {"config": COURSE.to_dict(), "data": {}}
    run = Run(tmp_path)
    before = json.loads(json.dumps(now))
    del before["config"]["schedule"]["least"], before["config"]["nan_policy"]
    check_identity(before, now, run)
    before["config"]["schedule"]["shape"] = "steps"
    with pytest.raises(UsageError, match=r"config.yaml was changed \(schedule\)"):
        check_identity(before, now, run)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            ended_after(CONFIG, 1),
            r"stopping.after: \S+ stands in epoch 2; give that or more, got 1",
        ),
        (replace(CONFIG, seed=1), r"config.yaml was changed \(seed\)"),
        (replace(CONFIG, data=Data(split="kfold:3/1")), r"config.yaml was changed \(data\)"),
        (
            replace(CONFIG, stopping=Stopping(after=2, monitor="val_loss")),
            r"config.yaml was changed \(stopping\)",
        ),
    ],
)
def test_what_may_not_change_is_one_line(unfinished: Run, changed: Config, message: str) -> None:
    before = (unfinished.folder / "config.yaml").read_bytes()
    with pytest.raises(EpochalError, match=message):
        training.train_at(unfinished, changed, test=False)
    assert (unfinished.folder / "config.yaml").read_bytes() == before


def test_an_extent_in_words() -> None:
    assert ended_after(CONFIG, 1).extent == "1 of 2 epochs"
    assert CONFIG.extent == "2 epochs"


# trained on all


@pytest.mark.slow
def test_trained_on_all_the_last_weights_are_kept(tmp_path: Path) -> None:
    run = Run(tmp_path / "all")
    # at a rate so high that validation is best before the end
    config = replace(CONFIG, epochs=4, learning_rate=3.0, seed=1, data=Data(split="all"))
    config = replace(config, stopping=Stopping(monitor="val_loss"))
    result = training.train_at(run, config, test=True)
    assert result.best_epoch == result.epochs == 4
    losses = [row["val_loss"] for row in run.history()]
    assert min(losses) < losses[-1]
    last, _ = archive.load(max(run.checkpoints.glob("epoch-*")))
    best, _ = archive.load(run.checkpoints / "best")
    for name, array in best.items():
        np.testing.assert_array_equal(array, last[f"model/{name}"])
    counts = run.data_card().counts
    assert counts == Counts(train=1438, validation=360, test=359)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            Data(split="all"),
            "1,438 train, 360 validation (360 trained on as well, so that its figures flatter), "
            "359 test",
        ),
        (Data(split="kfold:3/2"), "959 train, 479 validation, 359 test images, 10 classes"),
    ],
)
def test_images_that_validate_and_are_trained_on_are_told(data: Data, expected: str) -> None:
    assert expected in first_lines(set_up(replace(CONFIG, data=data)), None)


def test_images_of_another_store_are_others() -> None:
    setup = set_up(replace(CONFIG, data=Data(split="all")))
    validation = setup.dataset.validation
    other = replace(
        validation, images=replace(validation.images)
    )  # as where the data set has such a split of its own
    told = first_lines(replace(setup, dataset=replace(setup.dataset, validation=other)), None)
    assert "1,438 train, 360 validation, 359 test" in told


# one after the other


def test_a_process_lets_go_of_graphs_that_nothing_uses_any_more() -> None:
    @tf.function
    def clipped(x: Any) -> Any:  # the sum over devices is a tf.custom_gradient
        return tf.distribute.get_replica_context().all_reduce("SUM", 2 * x)

    graph = weakref.ref(clipped.get_concrete_function(tf.ones(3)).graph)
    del clipped
    gc.collect()
    assert graph() is not None
    forget()
    assert graph() is None
