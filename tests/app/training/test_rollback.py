"""Rollbacks: a run whose rate is too high recovers, gives up after three, and may be killed."""

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
from epochal.app.errors import TrainingFailed
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.store.rollback import Rollback
from epochal.app.store.run import Run
from epochal.app.store.runs import claim
from epochal.app.training.run import rollback
from epochal.app.training.run.checkpoints import Checkpoint, newest
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.learning_rate import rate_callbacks
from epochal.app.training.train import fit_with_rollbacks, log_end
from tests.support.messages import heard
from tests.support.program import WALL_CLOCK, epochal, outcome, start, stop_when
from tests.support.records import make_figures, make_result

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


def steering(setup: Setup, run: Run, budget: Any, *, rate_scale: float = 1.0) -> list[Any]:
    """Only what steers training: no pictures."""
    rates = rate_callbacks(setup.config, setup.batches.steps, rate_scale=rate_scale)
    return [*rates, callbacks.NanGuard(keep_state=True)]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fitted(run: Run, config: Config = CONFIG, watch: Any = steering) -> dict[str, Any]:
    """Train, from the run's newest checkpoint if there is one; return rows and the last state."""
    setup = set_up(config)
    begin = newest(run.checkpoints) or Checkpoint(identity=setup.identity())
    with run.locked():
        training, _ = fit_with_rollbacks(run, setup, begin, None, lambda: False, watch=watch)
    arrays, values = archive.load(max(run.checkpoints.glob("epoch-*")))
    rows = []
    for row in training.rows:
        rows.append({name: value for name, value in row.items() if name not in WALL_CLOCK})
    return {
        "rows": rows,
        "arrays": {name: array.tobytes() for name, array in arrays.items()},
        "rollbacks": values["rollbacks"],
    }


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any], list[str]]:
    """A run that went back twice, what it left, and what it said."""
    run = Run(tmp_path_factory.mktemp("whole"))
    with heard() as said:
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
        place = (
            f"(learning rate {rate}): rollback {number} of 3, to step 1 of epoch 1, learning rates "
            f"divided by {divisor}"
        )
        assert place in line
        assert place in log
        assert f"epochal replay-nan {run.folder} names where it began" in line


@pytest.mark.parametrize(
    "shape", ["steps", "cosine", "polynomial", "exponential", "inverse", "one_cycle"]
)
def test_every_schedule_is_slowed_and_keeps_its_course(shape: Any) -> None:
    config = replace(CONFIG, schedule=Schedule(shape=shape, batch=32))
    (plain,) = rate_callbacks(config, 10)
    (slow,) = rate_callbacks(config, 10, rate_scale=rollback.rate_scale(2))
    assert plain.rate == pytest.approx(20)
    for step in range(0, 40, 7):
        assert slow.rate * slow.shape(step) == pytest.approx(plain.rate * plain.shape(step) / 100)


def test_the_least_rate_stays_below_the_slowed_one() -> None:
    schedule = Schedule(shape="plateau", least=CONFIG.rate / 2)
    config = replace(CONFIG, schedule=schedule)
    (falling,) = rate_callbacks(config, 10, rate_scale=rollback.rate_scale(3))
    assert falling.least == pytest.approx(CONFIG.rate / 2000)


@pytest.mark.parametrize(
    ("before", "now", "rate"), [(0, 0, 0.8), (0, 1, 0.08), (1, 3, 0.008), (2, 2, 0.8)]
)
def test_a_rate_with_a_state_of_its_own_is_slowed_once(before: int, now: int, rate: float) -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.8))
    rollback.rescale_rate(model, now - before)
    assert float(model.optimizer.learning_rate.numpy()) == pytest.approx(rate)


def test_time_since_the_checkpoint_is_lost_to_the_budget() -> None:
    budget = callbacks.Budget(100.0, spent=5.0)
    budget.set_state({"trained": 40.0, "lost": 0.0, "validation": 1.0})  # 45 s are gone
    then = {"budget": {"trained": 30.0, "lost": 5.0, "validation": 1.0}}
    charged = rollback.charged(budget, Checkpoint(callbacks=then))
    assert charged is not None
    charged.on_train_begin()
    charged.set_state(then["budget"])
    assert charged.get_state()["trained"] == pytest.approx(30.0, abs=1)
    assert charged.get_state()["lost"] == pytest.approx(15.0, abs=1)


def test_gives_up_after_three() -> None:
    run = claim("r")
    run.write_rollbacks([Rollback(quantity="loss", epoch=1, step=2, back_to=(1, 1))] * 3)
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
    figures = make_figures(accuracy, accuracy_low=low, chance=0.25, loss=895352.0)
    with run.locked(), heard() as said:
        log_end(make_result(test=figures))
    line = (
        f"no better than guessing: test accuracy {accuracy:.4f}, the commonest class makes 0.2500; "
        "epochal doctor"
    )
    if accuracy > 0.25:  # but not for certain
        line = "100 images do not show that it is better than guessing: test accuracy 0.3000"
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
    recovered: tuple[Run, dict[str, Any], list[str]],
) -> None:
    run = claim("killed")

    def killed_after_one(setup: Setup, run: Run, budget: Any, *, rate_scale: float) -> list[Any]:
        if rollback.count(run) == 1:  # the resumed run has a second
            raise KeyboardInterrupt
        return steering(setup, run, budget, rate_scale=rate_scale)

    with pytest.raises(KeyboardInterrupt):
        fitted(run, watch=killed_after_one)
    assert rollback.count(run) == 1
    assert fitted(run) == recovered[1]


def test_a_place_gone_back_to_in_vain_is_passed_over(tmp_path: Path) -> None:
    run = Run(tmp_path)
    common = {"epoch": 0, "ended": False, "elapsed": 0.0, "identity": {}, "callbacks": {}}
    for step in (3, 7):
        folder = run.checkpoints / f"epoch-000000-step-{step:08d}"
        archive.save(folder, {"x": np.ones(2)}, {**common, "step": step})
    places = []
    for step in (1, 8, 4):
        latest = Rollback(quantity="loss", epoch=1, step=9, back_to=(1, step))
        places.append(rollback.last_good(run, [latest]))
    assert [place and place.step for place in places] == [7, 3, 3]


def test_evidence_is_whole_or_absent() -> None:
    run = claim("r")

    def watch(*arguments: Any, **options: Any) -> list[Any]:
        # No folder can be published in the place of a link that leads nowhere.
        run.failed_step.symlink_to("nowhere")
        return steering(*arguments, **options)

    with heard() as said, pytest.raises(TrainingFailed, match=r"clip-norm 1$"):
        fitted(run, replace(CONFIG, nan_policy="stop"), watch)
    assert "the step cannot be kept: cannot write runs/r/nan: " in said[0]
    assert run.failed_step.is_symlink()
    assert not run.failed_step.exists()
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
    done = epochal([*given, "whole"], tmp_path)
    assert done.returncode == 0, done.stderr
    count = json.loads((tmp_path / "runs/whole/result.json").read_text())["rollbacks"]
    assert count >= 2
    run = tmp_path / "runs/killed"
    stop_when(
        start([*given, "killed"], tmp_path),
        lambda: (run / "rollbacks.json").exists(),
        signal.SIGKILL,
    )
    assert epochal(["train", "--resume", "killed"], tmp_path).returncode == 0
    assert outcome(run) == outcome(tmp_path / "runs/whole")
    replayed = epochal(["replay-nan", "whole", "--json"], tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    found = json.loads(replayed.stdout)
    assert (found["place"], found["name"]) == first_not_finite(tmp_path / "runs/whole")


def first_not_finite(run: Path) -> tuple[str, str]:
    """Return what leaves float32 first when NumPy takes the kept batch through the network."""
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
