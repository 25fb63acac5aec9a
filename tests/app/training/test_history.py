"""The history of a run: history.csv, and the same figures for TensorBoard, each epoch once."""

import csv
from pathlib import Path
from typing import Any

import pytest

from epochal.app.training.run.history import History
from epochal.app.training.run.scalar_events import ScalarEvents
from tests.support.events import scalars

LOGS = [
    {"loss": 2.0, "accuracy": 0.25, "val_loss": 3.0, "val_accuracy": 0.5, "learning_rate": 0.125},
    {"loss": 1.0, "accuracy": 0.5, "val_loss": 2.0, "val_accuracy": 0.75, "learning_rate": 0.25},
    {"loss": 0.5, "accuracy": 0.75, "val_loss": 1.0, "val_accuracy": 1.0, "learning_rate": 0.5},
]


def make_history(folder: Path) -> History:
    events = ScalarEvents(folder / "tensorboard")
    return History(folder / "history.csv", images_per_step=10, events=events)


def run_epochs(history: History, first: int, end: int) -> None:
    for epoch in range(first, end):
        history.on_epoch_begin(epoch)
        history.on_train_batch_end(0)
        history.on_train_batch_end(1)
        history.on_epoch_end(epoch, dict(LOGS[epoch]))


def points(folder: Path, run: str, name: str) -> list[tuple[int, float]]:
    """The points of one scalar of TensorBoard."""
    found = scalars(folder / "tensorboard" / run)
    return [(step, value) for step, tag, value in found if tag == name]


def test_training_and_validation_are_two_runs_of_one_chart(tmp_path: Path) -> None:
    history = make_history(tmp_path)
    history.on_train_begin()
    run_epochs(history, 0, 2)
    assert points(tmp_path, "train", "loss") == [(1, 2.0), (2, 1.0)]
    assert points(tmp_path, "validation", "loss") == [(1, 3.0), (2, 2.0)]
    assert points(tmp_path, "train", "accuracy") == [(1, 0.25), (2, 0.5)]
    assert points(tmp_path, "validation", "accuracy") == [(1, 0.5), (2, 0.75)]
    assert points(tmp_path, "train", "learning_rate") == [(1, 0.125), (2, 0.25)]
    speeds = points(tmp_path, "train", "images_per_second")
    assert [step for step, _ in speeds] == [1, 2]
    assert all(speed > 0 for _, speed in speeds)


def resumed_state(history: History, epochs: int) -> dict[str, Any]:
    """The state of a checkpoint that was made after so many epochs."""
    return {"rows": history.get_state()["rows"][:epochs]}


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_resumed_history_has_every_epoch_once(tmp_path: Path, epochs: int) -> None:
    stopped = make_history(tmp_path)
    stopped.on_train_begin()
    run_epochs(stopped, 0, 2)
    resumed = make_history(tmp_path)
    resumed.on_train_begin()
    resumed.set_state(resumed_state(stopped, epochs))
    run_epochs(resumed, epochs, 3)
    expected = [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert points(tmp_path, "train", "loss") == expected
    assert points(tmp_path, "validation", "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [(int(row["epoch"]), float(row["loss"])) for row in rows] == expected


def test_a_run_that_begins_again_forgets_what_was_there(tmp_path: Path) -> None:
    killed = make_history(tmp_path)
    killed.on_train_begin()
    run_epochs(killed, 0, 2)
    again = make_history(tmp_path)
    again.on_train_begin()
    run_epochs(again, 0, 1)
    assert points(tmp_path, "train", "loss") == [(1, 2.0)]
