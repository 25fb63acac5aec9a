"""Replays of the step that went wrong: the pixel, the layer or the gradient is named exactly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.app.commands.main import main
from epochal.app.config import Augment, Config, Data, Emphasis, Optim
from epochal.app.errors import UsageError
from epochal.app.evaluation.trained_model import build_model
from epochal.app.store import arrays as archive
from epochal.app.store.run import Run
from epochal.app.training.failures.failed_step import FailedStep, load_step
from epochal.app.training.failures.replay import Examination, parts_of_batch, replay
from epochal.app.training.run import state
from epochal.app.training.run.checkpoints import newest
from epochal.app.training.run.setup import set_up
from epochal.app.training.step.classifier import piece
from tests.support import planted

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

CONFIG = Config(model="planted", epochs=2, batch_size=256, learning_rate=0.01)  # 5 steps an epoch
STEPS = 5


def test_an_infinite_pixel_is_named_by_image_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.plant(monkeypatch, planted.with_state)
    load = planted.infinite_pixel(monkeypatch, "train", 700, (2, 5, 0))
    run, setup = planted.train_to_failure(
        replace(CONFIG, augment=Augment(pad_crop=0)), tmp_path, load
    )
    setup.batches.position.set(0)
    step, batch = next(
        (step, images.numpy())
        for step, (images, _) in enumerate(setup.batches.dataset())
        if not np.isfinite(images.numpy()).all()
    )
    kept, found = replay(run)
    assert (kept.epoch, kept.step, kept.split) == (0, step, "train")
    assert (found.place, found.name, found.value, found.index, found.count) == (
        "input",
        "image",
        "inf",
        (2, 5, 0),
        1,
    )
    assert found.image == np.argwhere(np.isinf(batch))[0][0]
    assert kept.indices[found.image] == setup.dataset.train.indices[700]
    np.testing.assert_array_equal(kept.images, batch)
    before = newest(run.checkpoints)  # of the step before: the failed one is not saved
    assert before is not None
    assert (before.epoch, before.step) == (0, step)
    assert kept.variables
    for name, value in kept.variables.items():
        np.testing.assert_array_equal(value, before.arrays[name])


@pytest.mark.parametrize(
    ("builder", "name"),
    [
        pytest.param(planted.log_of_zero, "planted_log", marks=pytest.mark.slow),
        (planted.nested_log_of_zero, "body/tail/planted_log"),
    ],
)
def test_a_log_of_zero_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, builder: planted.Builder, name: str
) -> None:
    planted.plant(monkeypatch, builder)
    run, setup = planted.train_to_failure(CONFIG, tmp_path)
    kept, found = replay(run)
    how = setup.dataset.preprocessing
    x = ((kept.images - np.float32(how.mean)) / np.float32(how.deviation)).reshape(
        len(kept.images), -1
    )
    weights = {"/".join(key.split("/")[-2:]): value for key, value in kept.variables.items()}
    linear = x @ weights["hidden/kernel"] + weights["hidden/bias"]
    hidden = np.maximum(linear, 0)
    first, *_ = np.argwhere(hidden == 0)
    assert (found.place, found.name, found.value) == ("layer", name, "-inf")
    assert (found.image, *found.index) == tuple(first)
    assert found.count == (hidden == 0).sum()
    seen = (
        hidden if name == "planted_log" else linear
    )  # the ReLU is part of the layer, or one of its own
    assert found.largest == pytest.approx(max(np.abs(seen).max(), np.abs(x).max()), rel=1e-4)


def test_an_infinite_gradient_is_named_by_the_layer_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    planted.plant(monkeypatch, planted.sqrt_at_zero)
    run, _ = planted.train_to_failure(replace(CONFIG, optim=Optim(micro_batches=3)), tmp_path)
    kept, found = replay(run)
    assert (kept.epoch, kept.step) == (
        0,
        0,
    )  # though the loss is finite there, and NaN one step later
    assert "stem/kernel" in kept.spoilt
    assert (found.place, found.name, found.of) == ("gradient", "planted_sqrt", "input")
    assert main(["replay-nan", str(tmp_path)]) == 0
    assert (
        "loss was found not to be finite at step 2 of epoch 1; train step 1 of epoch 1"
        in capsys.readouterr().out
    )
    assert main(["replay-nan", str(tmp_path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert [values[key] for key in ("epoch", "step", "found_in_epoch", "found_at_step")] == [
        1,
        1,
        1,
        2,
    ]


@pytest.mark.slow
def test_a_step_too_long_is_named_as_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.plant(monkeypatch, planted.steep)
    run, _ = planted.train_to_failure(replace(CONFIG, learning_rate=3e38), tmp_path)
    kept, found = replay(run)
    assert (kept.epoch, kept.step) == (0, 0)
    assert "logits/kernel" in kept.spoilt
    assert (found.place, found.name) == ("update", "logits/kernel")
    assert float(found.value) > 1


@pytest.mark.slow
def test_validation_is_replayed_in_inference_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.plant(monkeypatch, planted.with_state)
    load = planted.infinite_pixel(monkeypatch, "validation", 300, (1, 2, 0))
    run, setup = planted.train_to_failure(CONFIG, tmp_path, load)
    kept, found = replay(run)
    assert (kept.quantity, kept.epoch, kept.step, kept.split) == ("val_loss", 0, 1, "validation")
    assert (found.place, found.image, found.index) == ("input", 300 - 256, (1, 2, 0))
    assert kept.indices[found.image] == setup.dataset.validation.indices[300]


@pytest.mark.parametrize(
    "given",
    [
        {"emphasis": Emphasis(by="weights", start=1)},
        pytest.param({"data": Data(order="interleaved")}, marks=pytest.mark.slow),
    ],
    ids=["weights", "order"],
)
def test_the_batch_of_a_step_is_made_once_more(given: dict[str, Any]) -> None:
    setup = set_up(replace(CONFIG, model="softmax", augment=Augment(pad_crop=0), **given))
    split = setup.dataset.train
    losses = setup.model.sample_losses
    if losses is not None:
        losses._hard.learn(np.arange(len(split)), np.random.default_rng(0).random(len(split)))
    setup.batches.position.set(1)
    batches = [[part.numpy() for part in batch] for batch in setup.batches.dataset()]
    assert len(batches) == STEPS
    for step, (images, labels, *rest) in enumerate(batches):
        again = setup.batches.batch(1, step)
        np.testing.assert_array_equal(again["images"], images)
        np.testing.assert_array_equal(again["labels"], labels)
        np.testing.assert_array_equal(split.images.tensor.numpy()[again["indices"]], images)
        assert ("weights" in again) == bool(rest) == ("emphasis" in given)
        if rest:
            assert len(set(rest[0])) > 1
            np.testing.assert_array_equal(again["weights"], rest[0])


@pytest.mark.parametrize(
    ("micro_batches", "augment"),
    [(1, Augment()), (3, Augment()), (3, Augment(mixup=1.0, cutmix=1.0))],
    ids=["whole", "parts", "mixed"],
)
def test_a_replay_moves_the_state_as_the_step_did(
    monkeypatch: pytest.MonkeyPatch, micro_batches: int, augment: Augment
) -> None:
    planted.plant(monkeypatch, planted.masked)
    config = replace(CONFIG, optim=Optim(micro_batches=micro_batches), augment=augment)
    setup = set_up(config)
    before = archive.arrays_of(state.model_variables(setup.model))
    batch = setup.batches.batch(0, 1)
    weights = {"weights": None, "class_weights": None}
    place = {"epoch": 0, "step": 1, "split": "train", "learning_rate": 0.01}
    found = {"quantity": "loss", "found": [0, 1], "spoilt": []}
    step = FailedStep(variables=before, **{**weights, **batch}, **place, **found)
    logs = setup.model.train_step((batch["images"], batch["labels"]))
    again = build_model(config, setup.dataset.preprocessing)
    for variable, value in zip(again.variables, before.values(), strict=True):
        variable.assign(value)
    finding = Examination(again, config, step).find()
    assert finding.place == "nothing"
    assert float(finding.value) == pytest.approx(float(logs["loss"]), rel=0.01)
    moved = [
        (a, b)
        for a, b in zip(again.variables, setup.model.variables, strict=False)
        if not a.trainable
    ]
    assert len(moved) == 3
    for left, right in moved:
        np.testing.assert_allclose(left.numpy(), right.numpy(), rtol=1e-5, atol=1e-6)


def test_the_parts_of_a_batch_share_the_penalties() -> None:
    losses = {}
    for micro_batches in (1, 3):
        optim = Optim(micro_batches=micro_batches, weight_decay=10.0)
        config = replace(CONFIG, model="mlp", optim=optim)
        setup = set_up(config)
        variables = archive.arrays_of(state.model_variables(setup.model))
        step = FailedStep(
            epoch=0,
            step=1,
            split="train",
            learning_rate=0.01,
            quantity="loss",
            found=[0, 1],
            spoilt=[],
            variables=variables,
            **{"weights": None, "class_weights": None, **setup.batches.batch(0, 1)},
        )
        finding = Examination(setup.model, config, step).find()
        assert finding.place == "nothing"
        losses[micro_batches] = float(finding.value)
        without_penalty = 2 * np.log(10)  # at most, for weights that were not trained
        assert losses[micro_batches] > 2 * without_penalty
    assert losses[3] == pytest.approx(losses[1], rel=0.01)


def damaged(folder: Path) -> None:
    path = folder / archive.ARRAYS
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_step_that_an_earlier_version_kept_is_replayed(tmp_path: Path) -> None:
    arrays = {
        "images": np.zeros((1, 2, 2, 1), np.uint8),
        "labels": np.zeros(1, np.int32),
        "indices": np.zeros(1, int),
    }
    values = {
        "epoch": 3,
        "step": 5,
        "split": "train",
        "learning_rate": 0.1,
        "quantity": "loss",
        "spoilt": [],
    }
    archive.save(tmp_path / "nan", arrays, values)
    assert load_step(Run(tmp_path)).found == [3, 5]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    planted.plant(monkeypatch, planted.log_of_zero)
    run, _ = planted.train_to_failure(CONFIG, tmp_path)
    assert main(["replay-nan", str(tmp_path)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(
        "loss was found not to be finite at step 1 of epoch 1; train step 1 of epoch 1 (learning"
    )
    assert told[1] == "first: the output of layer planted_log, whose inputs are finite"
    assert "-inf at [" in told[2]
    assert told[3].startswith("largest activation before it: ")
    assert main(["replay-nan", str(tmp_path), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["epoch"], values["step"], values["place"], values["name"]) == (
        1,
        1,
        "layer",
        "planted_log",
    )
    damaged(run.folder / "nan")
    assert main(["replay-nan", str(tmp_path)]) == 4
    assert "nan: arrays.npz is damaged" in capsys.readouterr().err


def test_nothing_kept_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to replay"):
        load_step(Run(tmp_path))


@settings(deadline=None)
@given(count=st.integers(1, 40), devices=st.integers(1, 4), micro_batches=st.integers(1, 4))
def test_parts_are_those_of_the_training_step(count: int, devices: int, micro_batches: int) -> None:
    each = -(-count // devices)
    shares = [list(range(count))[each * device : each * (device + 1)] for device in range(devices)]
    found = parts_of_batch(count, devices, micro_batches)
    assert sorted(place for part in found for place in part) == list(range(count))
    for number, part in enumerate(found):
        expected = [
            place
            for share in shares
            for place in piece(np.array(share, np.int32), number, micro_batches)
        ]
        assert part.tolist() == [int(place) for place in expected]
