"""Trials of a configuration before a run: pilot, dry run, a few batches by heart, the ladder."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal import models
from epochal.app.commands.main import main
from epochal.app.commands.train_modes import print_ladder
from epochal.app.config import Augment, Config, Data, Emphasis, Objective, Optim, Schedule, Stopping
from epochal.app.data.load import load
from epochal.app.doctor import memorize
from epochal.app.doctor.model_copy import copy_model
from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.store.run import Run
from epochal.app.store.runs import claim
from epochal.app.training.probes.dry_run import dry_run, train_two_steps
from epochal.app.training.run.pilot import PART, changes, check_piloted, pilot, pilot_model
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.classifier import Classifier
from tests.support.records import make_figures, make_result
from tests.support.zoo import images

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

FAMILIES = ("vgg", "resnet", "wrn", "resnext", "densenet")
ALONE = {  # of a family that tells depths, but without a smaller sibling
    *(
        "vgg11",
        "vgg11_cifar",
        "resnet8",
        "resnet20b",
        "resnet20_v2",
        "resnet18",
        "resnet18_v2",
        "resnet18_cifar",
        "resnet50_keras",
        "resnet50_v2_keras",
    ),
    *(
        "wrn16_4",
        "wrn16_8",
        "wrn28_10",
        "resnext29_32x4d",
        "resnext29_8x64d",
        "resnext29_16x64d",
        "resnext50_32x4d",
    ),
    *(
        "densenet_40_12",
        "densenet_bc_40_12",
        "densenet_bc_250_24",
        "densenet_bc_190_40",
        "densenet121",
    ),
}
PILOTS = {
    "resnet20": "resnet8",
    "resnet56": "resnet8",  # 11 layers are wanted
    "resnet110": "resnet20",  # 22
    "resnet1202": "resnet164",  # 240
    "resnet110b": "resnet20b",
    "resnet1001_v2": "resnet164_v2",
    "resnet152": "resnet18",
    "resnet101_v2": "resnet18_v2",
    "resnet50_cifar": "resnet18_cifar",
    "vgg19": "vgg11",
    "vgg16_cifar": "vgg11_cifar",
    "wrn40_4": "wrn16_4",
    "resnext101_32x4d": "resnext50_32x4d",
    "densenet_100_12": "densenet_40_12",
    "densenet_bc_100_12": "densenet_bc_40_12",
    "densenet201": "densenet121",
}


# pilot


@pytest.mark.parametrize("name", models.ZOO)
def test_a_pilot_is_smaller_and_takes_the_same_images(name: str) -> None:
    tells_depth = name.startswith(FAMILIES)
    if not tells_depth or name in ALONE:
        with pytest.raises(
            UsageError, match=f"no smaller {name}; give another --model, or --data.part"
        ):
            pilot_model(name)
        return
    other = pilot_model(name)
    assert models.ZOO[other].input_shape == models.ZOO[name].input_shape
    assert models.ZOO[other].min_size <= models.ZOO[name].min_size
    for size in ("params", "multiply_adds"):
        assert SIZES[other][size] < SIZES[name][size]


@pytest.mark.parametrize("name", PILOTS)
def test_pilots_known_by_name(name: str) -> None:
    assert pilot_model(name) == PILOTS[name]


def sizes() -> dict[str, dict[str, Any]]:
    import json

    from epochal.models.complexity import SIZES as path

    return {row["name"]: row for row in json.loads(path.read_text())}


SIZES = sizes()


def test_a_pilot_is_an_ordinary_run_of_another_name() -> None:
    config = Config(epochs=30, data=Data(validation=0.3))
    smaller = pilot(config)
    expected = replace(
        config,
        model="resnet8",
        epochs=6,
        data=Data(validation=0.3, part=0.1),
        name="digits-resnet20-pilot",
    )
    assert smaller == expected
    assert changes(config, smaller) == [
        "model: resnet20 -> resnet8",
        "epochs: 30 -> 6",
        "name: None -> digits-resnet20-pilot",
        "data.part: None -> 0.1",
    ]
    assert pilot(replace(config, name="x" * 64)).name == "x" * 58 + "-pilot"
    assert pilot(replace(config, budget="10m")) == smaller
    assert pilot(replace(config, data=Data(part=0.5))).data.part == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (
            Schedule(milestones=[10, 15, 25], warm_up=5.0),
            Schedule(milestones=[2, 3, 5], warm_up=1.0),
        ),
        (
            Schedule(milestones=[1, 29]),
            Schedule(milestones=[1]),
        ),  # after all 6 epochs nothing is left to change
        (Schedule(milestones=[7, 20], warm_up=6.0), Schedule(milestones=[2, 4], warm_up=1.2)),
        (Schedule(every=10), Schedule(every=2)),
        (Schedule(every=6, warm_up=5.0), Schedule(every=2, warm_up=1.0)),
        (Schedule(every=29), Schedule(every=5)),  # not 6, which would be never
        (Schedule(shape="inverse", offset=3.0), Schedule(shape="inverse", offset=0.6)),
        (Schedule(shape="plateau", patience=10), Schedule(shape="plateau", patience=2)),
        (
            Schedule(shape="stuck", patience=4, window=500),
            Schedule(shape="stuck", patience=4, window=10),
        ),
        (Schedule(shape="stuck"), Schedule(shape="stuck", window=10)),
        (Schedule(shape="plateau", cooldown=20), Schedule(shape="plateau", cooldown=4)),
        (Schedule(shape="plateau", cooldown=0), Schedule(shape="plateau", cooldown=0)),
        (
            Schedule(unit="steps", milestones=[1000, 2000]),
            Schedule(unit="steps", milestones=[20, 40]),
        ),
    ],
)
def test_schedules_of_pilots_are_as_much_shorter(schedule: Schedule, expected: Schedule) -> None:
    made = asdict(pilot(Config(epochs=30, schedule=schedule)).schedule)
    assert made == {key: pytest.approx(value) for key, value in asdict(expected).items()}


def test_a_pilot_ends_after_all_of_its_fewer_epochs() -> None:
    assert pilot(Config(epochs=30, stopping=Stopping(after=20))).stopping.after is None


@pytest.mark.parametrize(
    ("epochs", "start", "every", "patience", "expected"),
    [
        (30, 7, 10, 10, (1, 2, 2)),
        (30, 29, 29, 2, (5, 5, 1)),
        (30, 1, 1, None, (1, 1, None)),
        (10, 6, 6, 9, (1, 1, 2)),
    ],
)
def test_all_that_counts_epochs_is_as_much_shorter(
    epochs: int, start: int, every: int, patience: int | None, expected: tuple[int | None, ...]
) -> None:
    emphasis = Emphasis(by="weights", start=start)
    optim = Optim(frozen="kernel", unfreeze_every=every)
    config = Config(
        epochs=epochs, emphasis=emphasis, optim=optim, stopping=Stopping(patience=patience)
    )
    made = pilot(config)
    assert (made.emphasis.start, made.optim.unfreeze_every, made.stopping.patience) == expected


def test_in_one_epoch_nothing_thaws_and_no_loss_is_known() -> None:
    assert (
        pilot(Config(epochs=5, optim=Optim(frozen="kernel", unfreeze_every=2))).optim.unfreeze_every
        is None
    )
    with pytest.raises(UsageError, match="--pilot trains for 1 epoch: emphasis"):
        pilot(Config(epochs=5, emphasis=Emphasis(by="weights")))


LONG = Config(model="resnet14", epochs=5, budget="2h", pilot_above="1h")
LEARNED = make_figures(0.4, accuracy_low=0.3, chance=0.2)


@pytest.fixture(scope="module")
def long_run() -> Setup:
    return set_up(LONG)


@pytest.fixture
def piloted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The finished pilot of LONG, in a folder of runs of its own."""
    monkeypatch.chdir(tmp_path)
    run = claim("a-pilot")
    run.write_config(pilot(LONG))
    run.write_result(make_result(validation=LEARNED, test=None))
    return run


@pytest.mark.parametrize(
    "change", [{}, {"seed": 1}, {"name": "x"}, {"devices": 2}, {"budget": "3h"}], ids=str
)
def test_a_long_run_may_begin_after_its_pilot(
    long_run: Setup, piloted: Run, change: dict[str, Any]
) -> None:
    claim("damaged").folder.joinpath("config.yaml").write_text("model: [")
    check_piloted(replace(long_run, config=replace(LONG, **change)))


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.05}, {"model": "resnet110"}, {"epochs": 10}], ids=str
)
def test_another_runs_pilot_does_not_count(
    long_run: Setup, piloted: Run, change: dict[str, Any]
) -> None:
    with pytest.raises(
        UsageError,
        match=r"pilot_above: 1h, this run takes about 2\.0 h, and no pilot of it that learned",
    ):
        check_piloted(replace(long_run, config=replace(LONG, **change)))


@pytest.mark.parametrize("accuracy", [None, 0.2], ids=["unfinished", "guessing"])
def test_a_pilot_that_learned_nothing_does_not_count(
    long_run: Setup, piloted: Run, accuracy: float | None
) -> None:
    piloted.folder.joinpath("result.json").unlink()
    if accuracy is not None:
        guessed = replace(LEARNED, accuracy_low=accuracy)
        piloted.write_result(make_result(validation=guessed, test=None))
    with pytest.raises(UsageError, match="give the same options with --pilot first"):
        check_piloted(long_run)
    check_piloted(
        replace(long_run, config=replace(LONG, pilot_above="3h"))
    )  # a short one needs none
    check_piloted(replace(long_run, config=pilot(LONG)))


def test_a_long_run_of_what_has_no_pilot_says_so(long_run: Setup) -> None:
    with pytest.raises(
        UsageError,
        match="pilot_above: 1h, which this run is longer than; but --pilot: the zoo has no",
    ):
        check_piloted(replace(long_run, config=replace(LONG, model="lenet5")))


def test_how_long_a_run_of_epochs_takes_is_measured_and_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    setup = set_up(Config(model="resnet14", epochs=100_000, pilot_above="1h"))
    before = setup.model.get_weights()
    with pytest.raises(UsageError, match=r"this run takes about \d+\.\d h, and no pilot"):
        check_piloted(setup)
    for was, weight in zip(before, setup.model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, weight)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_pilot_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--pilot", "--model", "resnet14", "--epochs", "5"]) == 0
    assert "model: resnet14 -> resnet8" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["digits-resnet14-pilot"]


def test_a_part_of_the_training_images() -> None:
    whole = load(Config())
    part = load(Config(data=Data(part=PART)))
    assert len(part.train) == pytest.approx(PART * len(whole.train), abs=5)
    assert set(part.train.indices) < set(whole.train.indices)
    counts = np.bincount(part.train.labels) / np.bincount(whole.train.labels)
    np.testing.assert_allclose(counts, PART, atol=0.01)
    for name in ("validation", "test"):
        np.testing.assert_array_equal(getattr(part, name).indices, getattr(whole, name).indices)
    assert part.fingerprint() != whole.fingerprint()


# dry run


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (
            Config(model="mlp", learning_rate=1e30),
            TrainingFailed,
            "is not finite at step 2 of epoch 1",
        ),
        (Config(model="softmax", budget="10s"), UsageError, "10s is too little for one epoch"),
    ],
)
def test_a_dry_run_is_refused_as_a_run_would_be(
    config: Config, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        dry_run(config, time.monotonic() - 8)


class NotForInference(Classifier):
    def test_step(self, data: Any) -> Any:
        raise ValueError("no kernel for this")


def test_a_dry_run_validates() -> None:
    setup = set_up(Config(model="softmax"))
    network = keras.Model(setup.model.input, setup.model.output)
    model = NotForInference(network, objective=setup.model.objective)
    model.compile(keras.optimizers.SGD(), "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="no kernel for this"):
        train_two_steps(replace(setup, model=model), None)


class OutOfMemory(Classifier):
    def fit(self, *_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")


def test_a_dry_run_without_memory_is_one_line() -> None:
    setup = set_up(Config(model="softmax"))
    network = keras.Model(setup.model.input, setup.model.output)
    model = OutOfMemory(network, objective=setup.model.objective)
    model.compile(optimizer=keras.optimizers.SGD())
    with pytest.raises(TrainingFailed, match="out of memory with --batch-size 64"):
        train_two_steps(replace(setup, model=model), None)


@pytest.mark.parametrize("shape", ["cosine", "plateau"])
def test_a_dry_run_warms_up(shape: Any) -> None:
    config = Config(
        model="softmax", batch_size=512, schedule=Schedule(shape=shape, unit="steps", warm_up=20)
    )
    setup = set_up(config)
    train_two_steps(setup, None)
    assert float(setup.model.optimizer.learning_rate) == pytest.approx(0.1 * 2 / 20)


# by heart


def test_nothing_keeps_a_model_from_learning_by_heart() -> None:
    optim = Optim(weight_decay=0.1, l1=0.1, l1_proximal=True, clip_norm=3.0)
    config = Config(
        optim=optim, objective=Objective(label_smoothing=0.1), augment=Augment(flip=True)
    )
    plain = memorize.remove_regularization(config)
    assert (plain.optim.weight_decay, plain.optim.l1, plain.objective.label_smoothing) == (0, 0, 0)
    assert (plain.augment.pad_crop, plain.augment.flip, plain.optim.clip_norm) == (0, False, 3.0)


def told(
    words: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> tuple[int, str, str]:
    """Exit code, stdout and the last line of stderr; nothing may be stored."""
    monkeypatch.chdir(tmp_path)
    code = main(["train", "--model", "mlp", *words])
    out, err = capsys.readouterr()
    assert list(tmp_path.iterdir()) == []
    return code, out, err.splitlines()[-1]


def test_two_batches_are_memorised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code, out, _ = told(
        ["--overfit-batches", "2", "--batch-size", "16"], tmp_path, monkeypatch, capsys
    )
    assert code == 0
    assert out.startswith("memorised 32 images in ")
    assert "accuracy 100%" in out


def test_what_cannot_be_memorised_fails() -> None:
    config = Config(model="mlp", learning_rate=1e-9)
    with pytest.raises(TrainingFailed, match=r"64 images could not be memorised .* after 5 steps"):
        memorize.overfit(config, 1, max_passes=5)


def test_more_batches_than_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code, _, error = told(["--overfit-batches", "18"], tmp_path, monkeypatch, capsys)
    assert code == 2
    assert error.startswith("error: --overfit-batches: ")
    assert "17 batches, got 18" in error


# the ladder


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [1]),
        (9, [1, 5]),
        (10, [1, 5, 10]),
        (999, [1, 5, 10, 100]),
        (54_000, [1, 5, 10, 100, 1000, 10_000]),
    ],
)
def test_rungs(count: int, expected: list[int]) -> None:
    assert memorize.list_rungs(count) == expected


def test_the_ladder_is_climbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    code, out, _ = told(["--sample-ladder"], tmp_path, monkeypatch, capsys)
    head, *rows, last = out.splitlines()
    assert code == 0
    assert head.split() == ["images", "steps", "loss", "train", "validation"]
    assert [row.split()[0] for row in rows] == ["1", "5", "10", "100", "1,000"]
    assert {row.split()[3] for row in rows} == {"100.0%"}
    validation = [float(row.split()[4].rstrip("%")) for row in rows]
    for before, after in pairwise(validation):
        # Three standard deviations of a share of 360 images: 5 may do as well as 10.
        assert after > before - 7.9
    assert validation[-1] > 90
    # The commonest of ten classes has 37 of 360 images, 10.3 %; three sigma of as many are 4.8 %.
    first = next(row for row, value in zip(rows, validation, strict=True) if value > 15.08)
    assert last.startswith(f"generalises from {first.split()[0]} images on: ")
    assert "chance and three sigma are 15.1%" in last


def test_a_ladder_that_leads_nowhere() -> None:
    config = Config(model="mlp", learning_rate=1e-9)
    rungs = memorize.climb_ladder(config, rungs=[1, 5], max_steps=1)
    with pytest.raises(TrainingFailed, match="does not generalise from 5 images"):
        print_ladder(rungs)


@pytest.mark.slow
def test_every_rung_starts_from_the_same_weights() -> None:
    config = Config(model="lenet300")
    first, again = (list(islice(memorize.climb_ladder(config), 3)) for _ in range(2))
    assert first == again


# the copy that things are tried on


@pytest.mark.parametrize("name", ["mlp", "lstm", "resnet8"])
def test_a_copy_answers_like_the_model(name: str) -> None:
    setup = set_up(Config(model=name))
    batch = images((8, 8, 1))
    expected = setup.model(batch, training=False)
    np.testing.assert_array_equal(copy_model(setup)(batch, training=False), expected)
    wide = copy_model(setup, "float64")
    assert {weight.dtype for weight in wide.weights} == {"float64"}
    np.testing.assert_allclose(wide(batch, training=False), expected, rtol=1e-4, atol=1e-5)
    assert [weight.path for weight in wide.trainable_weights] == [
        w.path for w in setup.model.trainable_weights
    ]


def test_a_copy_drops_nothing() -> None:
    copy = copy_model(set_up(Config(model="mlp")))
    batch = images((8, 8, 1))
    np.testing.assert_array_equal(copy(batch, training=True), copy(batch, training=False))
