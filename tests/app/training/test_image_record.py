"""The record of every training image: exact, harmless, and a way to find wrong labels."""

import signal
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from epochal.app.config import Augment, Config, Emphasis, Optim
from epochal.app.config.data import Data
from epochal.app.data.audit.labels import ImageRecord, suspicion
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.classifier import Callbacks
from epochal.app.training.step.image_record import ImageRecorder
from tests.support.program import epochal, outcome, saved, start, stop_when

MLP = Config(
    model="mlp",
    epochs=3,
    batch_size=64,
    learning_rate=0.05,
    augment=Augment(pad_crop=0),
    data=Data(image_record=True),
)


def recorder_of(setup: Setup) -> ImageRecorder:
    (recorder,) = [one for one in setup.model.recorders if isinstance(one, ImageRecorder)]
    return recorder


def fitted(setup: Setup) -> Setup:
    """Trained with what records the images and nothing else."""
    moves = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    everyone = Callbacks(
        [moves, *setup.model.recorders],
        add_history=True,
        model=setup.model,
        epochs=setup.config.epochs,
        steps=setup.batches.steps,
    )
    setup.model.fit(
        setup.batches.dataset(setup.strategy),
        epochs=setup.config.epochs,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    return setup


def test_recording_changes_no_weight() -> None:
    recorded = fitted(set_up(MLP))
    plain = fitted(set_up(replace(MLP, data=Data())))
    assert plain.model.recorders == ()
    for own, other in zip(recorded.model.weights, plain.model.weights, strict=True):
        assert np.array_equal(own.numpy(), other.numpy())


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_losses_and_margins_are_those_of_the_images(micro_batches: int) -> None:
    still = replace(MLP, model="softmax", learning_rate=1e-12)
    setup = fitted(set_up(replace(still, optim=Optim(micro_batches=micro_batches))))
    split = setup.dataset.train
    logits = setup.model(split.read()).numpy().astype(float)
    rows = np.arange(len(split))
    of_label = logits[rows, split.labels]
    shares = np.exp(logits)
    losses = np.log(shares.sum(1)) - of_label
    logits[rows, split.labels] = -np.inf
    record = recorder_of(setup).images
    assert (record.epochs == 3).all()
    assert record.losses / 3 == pytest.approx(losses, rel=1e-4)
    assert record.margins / 3 == pytest.approx(of_label - logits.max(1), rel=1e-3, abs=1e-4)


def test_a_record_stands_beside_emphasis() -> None:
    config = replace(MLP, emphasis=Emphasis(by="sampler", start=1), model="softmax")
    setup = fitted(set_up(config))
    record = recorder_of(setup).images
    assert record.epochs.min() < record.epochs.max() == 3
    assert setup.model.sample_losses is not None
    assert not np.isnan(setup.model.sample_losses.averages).any()


def test_flipped_labels_are_the_most_suspicious() -> None:
    setup = set_up(replace(MLP, epochs=6))
    labels = setup.dataset.train.labels
    random = np.random.default_rng(0)
    flipped = random.choice(len(labels), round(0.05 * len(labels)), replace=False)
    labels[flipped] = (labels[flipped] + random.integers(1, 10, len(flipped))) % 10
    scores = suspicion(recorder_of(fitted(setup)).images)
    worst = np.argsort(-scores, kind="stable")[: len(flipped)]
    assert len(set(worst) & set(flipped)) / len(flipped) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--devices", 2]])
def test_killed_and_resumed_to_the_same_record(tmp_path: Path, options: list) -> None:
    words = ["train", "--model", "mlp", "--epochs", 4, "--checkpoint-seconds", 0]
    words += ["--data.image-record", "true", *options, "--name"]
    assert epochal([*words, "whole"], tmp_path).returncode == 0
    run = tmp_path / "runs/killed"
    process = start([*words, "killed"], tmp_path)
    code = stop_when(process, lambda: saved(run) >= (1, 9), signal.SIGKILL)
    assert code == -signal.SIGKILL
    done = epochal(["train", "--resume", "killed"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(run) == outcome(tmp_path / "runs/whole")
    own = ImageRecord.read(run / "image_record").arrays()
    other = ImageRecord.read(tmp_path / "runs/whole/image_record").arrays()
    for name, values in own.items():
        assert np.array_equal(values, other[name]), name


@pytest.mark.slow
def test_replicas_record_what_one_device_does(tmp_path: Path) -> None:
    words = ["train", "--model", "mlp", "--epochs", 2, "--data.image-record", "true", "--name"]
    records = []
    for devices in (1, 2):
        done = epochal([*words, devices, "--devices", devices], tmp_path)
        assert done.returncode == 0, done.stderr
        records.append(ImageRecord.read(tmp_path / f"runs/{devices}/image_record"))
    alone, shared = records
    assert np.array_equal(alone.indices, shared.indices)
    assert np.array_equal(alone.epochs, shared.epochs)
    assert alone.losses == pytest.approx(shared.losses, rel=1e-3, abs=1e-3)
    assert alone.margins == pytest.approx(shared.margins, rel=1e-3, abs=1e-2)
