"""The folder of a run: its history, its best weights, and a copy that goes on."""

import os
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Config
from epochal.app.errors import StorageError, UsageError
from epochal.app.process.log import RUN_LOG
from epochal.app.store.run import Run
from tests.support.records import make_result


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.make()
    run.write_config(Config(model="softmax"))
    return run


def test_the_configuration_is_read_as_it_was_written(run: Run) -> None:
    assert run.config().to_dict() == Config(model="softmax").to_dict()


def test_history_holds_numbers_and_leaves_empty_cells_out(run: Run) -> None:
    run.history_file.write_text("epoch,loss,energy\n1,0.5,\n2,nan,3\n3,x\n")
    first, second, third = run.history()
    assert first == {"epoch": 1.0, "loss": 0.5}
    assert np.isnan(second["loss"])
    assert third == {"epoch": 3.0}


def test_the_last_rate_has_seven_digits(run: Run) -> None:
    run.history_file.write_text("epoch,learning_rate\n1,0.1\n2,0.010000000149011612\n")
    assert run.last_rate() == 0.01


@pytest.mark.parametrize("text", [None, "", "epoch\n1\n", "epoch,learning_rate\n1,fast\n", "\0"])
def test_a_history_that_does_not_tell_the_last_rate_is_one_line(text, run: Run) -> None:
    if text is not None:
        run.history_file.write_text(text)
    with pytest.raises(StorageError, match=r"history\.csv .* last learning rate"):
        run.last_rate()


def test_the_best_weights_are_read_as_they_were_published(run: Run) -> None:
    run.write_result(make_result())
    run.publish_weights({"0000/kernel": np.zeros(3)}, "softmax")
    first = run.best_weights()
    run.publish_weights({"0000/kernel": np.ones(3)}, "softmax")
    second = run.best_weights()
    np.testing.assert_array_equal(second.arrays["0000/kernel"], np.ones(3))
    assert len(second.sha256) == 64
    assert second.sha256 != first.sha256


def test_weights_that_are_not_finite_are_not_published(run: Run) -> None:
    with pytest.raises(StorageError, match="not finite"):
        run.publish_weights({"0000/kernel": np.array([np.nan])}, "softmax")
    assert not run.best.exists()


def test_an_unfinished_run_has_no_best_weights(run: Run) -> None:
    run.publish_weights({"0000/kernel": np.ones(3)}, "softmax")
    with pytest.raises(UsageError, match="has not finished training"):
        run.best_weights()


def test_a_copy_that_goes_on_lacks_what_stands_at_the_end(run: Run, tmp_path: Path) -> None:
    run.write_result(make_result())
    run.report.write_text("page")
    copy = run.copy_unfinished(tmp_path / "trials" / "copy")
    assert not copy.finished
    assert not copy.report.exists()
    assert copy.config() == run.config()
    assert [path.name for path in copy.folder.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", [".lock", "log.txt", "iterations.log", "tensorboard/train/events"])
def test_no_link_in_a_run_is_followed_when_writing(run: Run, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine")
    (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
    (run.folder / name).unlink(missing_ok=True)
    (run.folder / name).symlink_to(outside)
    with pytest.raises(StorageError, match=f"{name} is a link or no file"), run.locked():
        RUN_LOG.info("a line")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("name", [".lock", "log.txt"])
def test_a_pipe_in_a_run_is_not_waited_for(run: Run, name: str) -> None:
    (run.folder / name).unlink(missing_ok=True)
    os.mkfifo(run.folder / name)
    with pytest.raises(StorageError, match=f"{name} is a link or no file"), run.locked():
        RUN_LOG.info("a line")
