"""Data that changed between stop and resume: refused by name, streamed or in memory."""

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from epochal.app.config import Config, Data
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.data.same_files import check_same_data, describe_changes
from epochal.app.errors import UsageError
from epochal.app.evaluation.evaluate_run import evaluate_run
from epochal.app.export.exportable_run import read_run
from epochal.app.store.plan import Plan
from epochal.app.store.run import Run
from epochal.app.store.sweep import Sweep
from epochal.app.store.trials import FAILED, Proposal
from epochal.app.training.train import Session, resume, train, train_at
from epochal.app.tuning.sweep import check_same_data as check_data_of_sweep
from epochal.app.tuning.trial import run_trial
from tests.support.program import StopAfter
from tests.support.tiny_data import write_photos, write_tfds

pytestmark = pytest.mark.usefixtures("determinism_ends_here")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A run of streamed photos."""
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", ("daisy", "rose #1"))
    return Config(
        dataset=str(tmp_path / "photos"),
        model="softmax",
        image_size=8,
        epochs=2,
        batch_size=8,
        name="run",
        data=Data(cache_gib=0),
    )


def stop_after(steps: int, config: Config) -> Run:
    with pytest.raises(KeyboardInterrupt):
        train(config, Session(stop=StopAfter(steps)))
    return Run(Path("runs/run"))


def go_on(run: Run) -> None:
    with run.locked():
        resume(run, run.config())


def replace_by_another(photo: Path) -> None:
    """Another image under the name, of the same size and with the same time."""
    before = photo.stat()
    Image.new("RGB", (36, 40), (200, 10, 10)).save(photo)
    padding = before.st_size - photo.stat().st_size
    photo.write_bytes(photo.read_bytes() + b"\0" * padding)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert photo.stat().st_size == before.st_size


@pytest.mark.slow
@pytest.mark.parametrize("cache_gib", [0, 1])
def test_an_image_that_became_another_is_named(config: Config, cache_gib: float) -> None:
    run = stop_after(2, replace(config, data=Data(cache_gib=cache_gib)))
    replace_by_another(Path("photos/rose #1/007.jpg"))
    with pytest.raises(UsageError, match=r"of 40 files 1 changed \('rose #1/007.jpg'\); restore"):
        go_on(run)


@pytest.mark.slow
def test_a_copy_of_the_folder_with_other_times_is_the_same_data(config: Config) -> None:
    run = stop_after(2, config)
    shutil.copytree("photos", "copy", copy_function=shutil.copyfile)
    shutil.rmtree("photos")
    Path("copy").rename("photos")
    os.utime("photos/daisy/001.jpg", (0, 0))
    go_on(run)
    evaluate_run(run)
    replace_by_another(Path("photos/daisy/001.jpg"))
    for command in (evaluate_run, read_run):
        with pytest.raises(UsageError, match=r"1 changed \('daisy/001.jpg'\)"):
            command(run)


@pytest.mark.slow
def test_without_a_checkpoint_too(config: Config) -> None:
    run = stop_after(1, config)
    shutil.rmtree(run.checkpoints)
    replace_by_another(Path("photos/daisy/001.jpg"))
    with pytest.raises(UsageError, match=r"daisy/001\.jpg"):
        go_on(run)


def fingerprint_of_earlier_versions(dataset: Dataset) -> str:
    parts = ["\n".join(dataset.preprocessing.classes).encode()]
    for split in (dataset.train, dataset.validation, dataset.test):
        parts += [split.indices.tobytes(), split.labels.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_streamed_files_are_compared_except_with_runs_of_earlier_versions(config: Config) -> None:
    dataset = load(config)
    run = Run(Path("runs/run"))
    run.make()
    run.write_file_digests(dataset.digests)
    before = fingerprint_of_earlier_versions(dataset)
    assert dataset.fingerprint() != before
    for stored in (dataset.fingerprint(), before):
        check_same_data(dataset, stored, run)
    replace_by_another(Path("photos/rose #1/007.jpg"))
    changed = load(config)
    check_same_data(changed, before, run)
    with pytest.raises(UsageError, match=r"1 changed \('rose #1/007.jpg'\)"):
        check_same_data(changed, dataset.fingerprint(), run)


def test_a_record_of_tfds_that_became_another_is_noticed(tmp_path: Path) -> None:
    write_tfds(tmp_path)
    config = Config(dataset="mnist", data_dir=str(tmp_path), data=Data(cache_gib=0))
    dataset = load(config)
    file = next(tmp_path.glob("mnist/*/*train*.tfrecord*"))
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    example = tf.train.Example.FromString(records[3])
    black = tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy()
    example.features.feature["image"].bytes_list.value[0] = black
    records[3] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    changed = load(config)
    assert not changed.has_fingerprint(dataset.fingerprint())
    assert describe_changes(dataset.digests, changed.digests) == (
        f": of 2 files 1 changed ('{file.name}')"
    )


@pytest.fixture
def sweep(config: Config) -> Sweep:
    """A sweep that was begun with photos in memory."""
    space = [{"name": "learning_rate", "kind": "choice", "values": [0.1, 0.2]}]
    plan = Plan.from_dict(
        {
            "algorithm": "grid",
            "trials": 2,
            "splits": "holdout",
            "select": "best",
            "seed": 0,
            "monitor": "val_accuracy",
            "space": space,
        }
    )
    config = replace(config, data=Data())
    return Sweep.begin(plan, config, "s", digests=load(config).digests)


def test_a_sweep_does_not_go_on_with_other_data(sweep: Sweep) -> None:
    replace_by_another(Path("photos/daisy/020.jpg"))
    with pytest.raises(UsageError, match=r"sweeps/s: .* 1 changed \('daisy/020.jpg'\)"):
        check_data_of_sweep(sweep)


@pytest.mark.slow
def test_no_trial_is_trained_on_other_data(sweep: Sweep) -> None:
    check_data_of_sweep(sweep)
    replace_by_another(Path("photos/daisy/020.jpg"))
    run_trial(sweep, Proposal(trial="0001", values={"learning_rate": 0.1}))
    outcome = sweep.read_outcome("0001")
    assert outcome is not None
    assert outcome.status == FAILED
    assert "daisy/020.jpg" in (outcome.message or "")


def test_changes_are_counted_and_the_first_of_each_is_named() -> None:
    before = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert describe_changes(before, {"b": "2", "c": "0", "d": "0", "e": "5"}) == (
        ": of 4 files 2 changed ('c' and others), 1 gone ('a'), 1 new ('e')"
    )
    assert "are the same" in describe_changes(before, before)
    assert describe_changes({}, before) == ""


@pytest.mark.slow
def test_trials_leave_the_list_of_files_to_their_sweep(config: Config) -> None:
    run = Run(Path("trial"))
    train_at(run, replace(config, epochs=1), test=False)
    assert not run.digests_file.exists()
