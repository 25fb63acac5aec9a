"""A run whose rate is too high goes back and recovers, gives up after three times, and may be killed in between."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal import callbacks
from epochal.app.config import Config, Objective, Optim, Schedule
from epochal.app.data.pipeline import Position
from epochal.app.errors import TrainingFailed
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.store.run import Run, claim
from epochal.app.training import train
from epochal.app.training.run import rollback, state
from epochal.app.training.run.checkpoints import Checkpoint, Checkpoints, newest
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.learning_rate import rate_callbacks
from tests.support.messages import heard
from tests.support.program import epochal, outcome, start, stop_when

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

# A quadratic: diverges at the rates 10 and 1, not at 0.1.
CONFIG = Config(
    model="softmax",
    epochs=4,
    learning_rate=10.0,
    checkpoint_seconds=3600,
    nan_policy="rollback",
    schedule=Schedule(shape="plateau", patience=50),
    objective=Objective(loss="squared_error"),
    optim=Optim(weight_decay=0.0),
)


NOTHING = ("dataset", "batches", "model", "strategy")


def steering(setup: Any, *others: Any) -> list[Any]:
    """Only what steers training: no pictures."""
    return [*rate_callbacks(setup.config, setup.batches.steps), callbacks.NanGuard(keep_state=True)]


@pytest.fixture(autouse=True)
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs lie in a folder of the test, and only what steers them watches them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(train, "observers", steering)


def fitted(run: Run, config: Config = CONFIG) -> dict[str, Any]:
    """Trains, from the run's newest checkpoint if there is one; returns rows and the last state."""
    setup = set_up(config)
    checkpoint = newest(run.checkpoints)
    with run.locked():
        history, _, _ = train._fitted(setup, run, checkpoint, None, lambda: False)
    arrays, values = archive.load(max(run.checkpoints.glob("epoch-*")))
    rows = [
        {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
        for row in history.rows
    ]
    return {
        "rows": rows,
        "arrays": {k: v.tobytes() for k, v in arrays.items()},
        "rollbacks": values["rollbacks"],
    }


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any], list[str]]:
    """A run that went back twice, what it left, and what it said."""
    run = Run(tmp_path_factory.mktemp("whole"))
    with pytest.MonkeyPatch.context() as patch, heard() as said:
        patch.setattr(train, "observers", steering)
        return run, fitted(run), list(said)


def test_recovers_at_a_tenth_of_the_rate(recovered: tuple[Run, dict[str, Any], list[str]]) -> None:
    run, done, said = recovered
    assert rollback.count(run) == done["rollbacks"] == 2
    assert [row["learning_rate"] for row in done["rows"]] == pytest.approx([0.1] * CONFIG.epochs)
    assert done["rows"][-1]["loss"] < done["rows"][0]["loss"] < 10
    logged = (run.folder / "log.txt").read_text().splitlines()
    assert len(said) == len(logged) == 2
    for number, (line, log) in enumerate(zip(said, logged, strict=True), 1):
        rate = 10 ** (2 - number)
        divisor = 10**number
        place = f"(learning rate {rate}): rollback {number} of 3, to step 1 of epoch 1, learning rates divided by {divisor}"
        assert place in line
        assert place in log
        assert f"epochal replay-nan {run.folder} names where it began" in line


@pytest.mark.parametrize(
    "shape", ["steps", "cosine", "polynomial", "exponential", "inverse", "one_cycle"]
)
def test_every_schedule_is_slowed_and_keeps_its_course(shape: Any) -> None:
    setup = Setup(
        config=replace(CONFIG, schedule=Schedule(shape=shape, batch=32)), **dict.fromkeys(NOTHING)
    )
    (plain,), (slow,) = (
        rate_callbacks(rollback.slowed_setup(setup, count).config, 10) for count in (0, 2)
    )
    assert plain.rate == pytest.approx(20)
    for step in range(0, 40, 7):
        assert slow.rate * slow.shape(step) == pytest.approx(plain.rate * plain.shape(step) / 100)


def test_the_least_rate_stays_below_the_slowed_one() -> None:
    schedule = Schedule(shape="plateau", least=CONFIG.learning_rate / 2)
    setup = Setup(config=replace(CONFIG, schedule=schedule), **dict.fromkeys(NOTHING))
    (falling,) = rate_callbacks(rollback.slowed_setup(setup, 3).config, 10)
    assert falling.least == pytest.approx(CONFIG.learning_rate / 2000)


def test_a_rate_with_a_state_of_its_own_is_slowed_once(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.8))
    model.optimizer.build(model.trainable_variables)
    arrays = archive.arrays_of(state.variables_of(model))
    for had, has, rate in ((0, 0, 0.8), (0, 1, 0.08), (1, 3, 0.008), (2, 2, 0.8)):
        saver = Checkpoints(
            tmp_path,
            seconds=1,
            position=Position(),
            stopping=lambda: False,
            identity={},
            rollbacks=has,
        )
        saver.set_model(model)
        saver.resume(
            Checkpoint(
                epoch=0, step=0, ended=False, elapsed=0, identity={}, rollbacks=had, arrays=arrays
            )
        )
        assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(rate)


def test_time_since_the_checkpoint_is_lost_to_the_budget() -> None:
    budget = callbacks.Budget(100.0, spent=5.0)
    budget.set_state({"trained": 40.0, "lost": 0.0, "validation": 1.0})  # 45 s are gone
    then = {"Budget": {"trained": 30.0, "lost": 5.0, "validation": 1.0}}
    good = Checkpoint(epoch=0, step=0, ended=False, elapsed=0, identity={}, callbacks=then)
    rollback.charge(budget, good)
    budget.on_train_begin()
    budget.set_state(then["Budget"])
    assert budget.get_state()["trained"] == pytest.approx(30.0, abs=1)
    assert budget.get_state()["lost"] == pytest.approx(15.0, abs=1)


def test_gives_up_after_three() -> None:
    run = claim("r")
    run.write_json("rollbacks.json", [{"back_to": [1, 1]}] * 3)
    with pytest.raises(
        TrainingFailed, match=r"not finite at .*after 3 rollback\(s\); start again .* replay-nan"
    ):
        fitted(run, replace(CONFIG, learning_rate=1e30, schedule=Schedule()))
    assert rollback.count(run) == 3
    _, values = archive.load(run.folder / "nan")
    assert values["learning_rate"] == pytest.approx(1e27)


@pytest.mark.parametrize(
    ("accuracy", "low", "told"), [(0.0892, 0.08, True), (0.3, 0.25, True), (0.3, 0.26, False)]
)
def test_a_run_that_went_on_and_learned_nothing_says_so(
    accuracy: float, low: float, told: bool
) -> None:
    run = claim("r")
    figures = {"accuracy": accuracy, "accuracy_low": low, "chance": 0.25, "loss": 895352.0}
    with run.locked(), heard() as said:
        train._finished(run, {f"test_{name}": value for name, value in figures.items()})
    line = f"no better than guessing: test accuracy {accuracy:.4f}, the commonest class makes 0.2500; epochal doctor"
    assert any(text.startswith(line) for text in said) == told
    finished, *more = [text[20:] for text in (run.folder / "log.txt").read_text().splitlines()]
    assert finished.startswith(
        f"finished: test accuracy {accuracy:.4f}, test loss 895352.0000, peak"
    )
    assert [text.startswith(line) for text in more] == [True] * told


def test_stop_is_the_default_and_goes_nowhere() -> None:
    run = claim("r")
    with pytest.raises(
        TrainingFailed,
        match=r"\(learning rate 10\); start again with a lower --learning-rate or with",
    ):
        fitted(run, replace(CONFIG, nan_policy=Config().nan_policy))
    assert rollback.count(run) == 0
    storage.verify(run.folder / "nan")


def test_killed_between_rollbacks_it_goes_on_as_if_it_never_was(
    recovered: tuple[Run, dict[str, Any], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = claim("killed")
    calls = []
    fit = train.fit

    def killed(*given: Any) -> None:
        calls.append(given)
        if len(calls) == 2:  # just after the first rollback; the resumed run has a second
            raise KeyboardInterrupt
        fit(*given)

    monkeypatch.setattr(train, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        fitted(run)
    assert rollback.count(run) == 1
    assert fitted(run) == recovered[1]


def test_a_place_gone_back_to_in_vain_is_passed_over(tmp_path: Path) -> None:
    run = Run(tmp_path)
    common = {"epoch": 0, "ended": False, "elapsed": 0.0, "identity": {}, "callbacks": {}}
    for step in (3, 7):
        folder = run.checkpoints / f"epoch-000000-step-{step:08d}"
        archive.save(folder, {"x": np.ones(2)}, {**common, "step": step})
    places = [rollback._last_good(run, [{"back_to": [1, step]}], pytest.fail) for step in (1, 8, 4)]
    assert [place and place.step for place in places] == [7, 3, 3]


def test_evidence_is_whole_or_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    run = claim("r")
    seal = storage._seal

    def full(folder: Path) -> None:
        if folder.parent == run.folder:  # not that of the checkpoints
            raise OSError(28, "No space left on device")
        seal(folder)

    monkeypatch.setattr(storage, "_seal", full)
    with heard() as said, pytest.raises(TrainingFailed, match=r"clip-norm 1$"):
        fitted(run, replace(CONFIG, nan_policy="stop"))
    assert "the step cannot be kept: cannot write runs/r/nan: No space left" in said[0]
    assert not list(run.folder.glob("nan*"))
    assert not list(run.folder.glob(".tmp*"))


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_the_command_recovers_killed_or_not(tmp_path: Path, devices: int) -> None:
    given = [
        "train",
        "--model",
        "mlp",
        "--learning-rate",
        100,
        "--epochs",
        2,
        "--nan-policy",
        "rollback",
    ]
    given += ["--devices", devices, "--optim.micro-batches", 2, "--name"]
    done = epochal([*given, "whole"], tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    count = json.loads((tmp_path / "runs/whole/result.json").read_text())["rollbacks"]
    assert count >= 2
    run = tmp_path / "runs/killed"
    stop_when(
        start([*given, "killed"], tmp_path),
        lambda: (run / "rollbacks.json").exists(),
        signal.SIGKILL,
    )
    assert epochal(["train", "--resume", "killed"], tmp_path, timeout=300).returncode == 0
    assert outcome(run) == outcome(tmp_path / "runs/whole")
    replayed = epochal(["replay-nan", "whole", "--json"], tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    found = json.loads(replayed.stdout)
    assert found["split"] == "validation"
    assert (found["place"], found["name"]) == first_not_finite(tmp_path / "runs/whole")


def first_not_finite(run: Path) -> tuple[str, str]:
    """What leaves float32 first when NumPy takes the kept validation batch through the perceptron."""
    arrays, _ = archive.load(run / "nan")
    data = json.loads((run / "data.json").read_text())
    weights = {
        name.split("/", 2)[2]: array for name, array in arrays.items() if name.startswith("model/")
    }
    x = ((arrays["images"] - np.float32(data["mean"])) / np.float32(data["deviation"])).reshape(
        -1, 64
    )
    with np.errstate(over="ignore", invalid="ignore"):
        for layer in ("hidden1", "hidden2", "logits"):
            x = x @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]
            if not np.isfinite(x).all():
                return "layer", layer
            x = np.maximum(x, 0) if layer != "logits" else x
        x = x - x.max(1, keepdims=True)
        losses = np.log(np.exp(x).sum(1)) - x[np.arange(len(x)), arrays["labels"]]
        return "loss", "cross_entropy" if not np.isfinite(losses).all() else "sum over the batch"
