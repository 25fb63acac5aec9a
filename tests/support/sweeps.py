"""Folders of sweeps as `epochal tune` leaves them, made by a formula instead of by training."""

import csv
import json
import math
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from epochal.app.store.sweep import Sweep
from epochal.app.tuning.report.standings import Standings, read_standings

RATE = {"name": "learning_rate", "kind": "log", "low": 1e-4, "high": 1.0}
EPOCHS = {"name": "epochs", "kind": "int", "low": 2, "high": 10, "step": 1}
OPTIMIZER = {"name": "optimizer", "kind": "choice", "values": ["sgd", "adam", "rmsprop"]}
DECAY = {
    "name": "optim.weight_decay",
    "kind": "linear",
    "low": 0.0,
    "high": 0.1,
    "when": {"optimizer": ["sgd"]},
}
BATCH = {"name": "data.batch_size", "kind": "choice", "values": [32, 64, 128]}
SPACE = [RATE, EPOCHS, OPTIMIZER, DECAY, BATCH]


def standings_of(folder: Path) -> Standings:
    """Return the standings of the sweep in a folder."""
    return read_standings(Sweep(folder))


def make_sweep(folder: Path, *, trials: int = 20, seed: int = 0, **settings: Any) -> Path:
    """A sweep of which one trial in ten failed and every fifth was dropped; only the learning rate matters much."""
    generator = np.random.default_rng(seed)
    write_sweep(folder, trials=trials, **settings)
    found = json.loads((folder / "sweep.json").read_text())
    for number in range(trials):
        status = "failed" if number % 10 == 7 else "dropped" if number % 5 == 3 else "completed"
        values = draw(found["space"], generator)
        write_trial(folder, number, status, values, found["monitor"], generator)
    return folder


def write_sweep(folder: Path, **settings: Any) -> None:
    """`sweep.json` and `config.yaml` of a sweep without trials."""
    folder.mkdir(parents=True)
    (folder / "trials").mkdir()
    values = {
        "algorithm": "random",
        "trials": 20,
        "splits": "kfold:5",
        "select": "best",
        "seed": 0,
        "monitor": "val_accuracy",
        "space": SPACE,
    }
    (folder / "sweep.json").write_text(json.dumps(values | settings))
    (folder / "config.yaml").write_text("dataset: digits\nmodel: lenet5\n")


def draw(space: list[dict[str, Any]], generator: np.random.Generator) -> dict[str, Any]:
    """Values of the hyperparameters that are active."""
    values: dict[str, Any] = {}
    for parameter in space:
        if all(values.get(name) in allowed for name, allowed in parameter.get("when", {}).items()):
            values[parameter["name"]] = _value(parameter, generator)
    return values


def _value(parameter: dict[str, Any], generator: np.random.Generator) -> Any:
    if parameter["kind"] == "choice":
        return parameter["values"][int(generator.integers(len(parameter["values"])))]
    low = parameter["low"]
    high = parameter["high"]
    if parameter["kind"] == "log":
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    return (
        int(generator.integers(low, high + 1))
        if parameter["kind"] == "int"
        else generator.uniform(low, high)
    )


def quality(values: dict[str, Any]) -> float:
    """The accuracy that values deserve: best at a learning rate of 0.03, a little better with Adam."""
    off = math.log10(values.get("learning_rate", 0.03) / 0.03)
    return max(0.1, 0.97 - 0.09 * off * off + 0.004 * (values.get("optimizer") == "adam"))


def write_trial(
    folder: Path,
    number: int,
    status: str,
    values: dict[str, Any],
    monitor: str,
    generator: np.random.Generator,
) -> None:
    """`trial.json` and the runs of its splits."""
    trial = folder / "trials" / f"{number:04d}"
    trial.mkdir()
    splits = {"completed": 5, "dropped": 2}.get(status, 0)
    epochs = values.get("epochs", 6)
    scores = []
    best = []
    for split in range(1, splits + 1):
        accuracy = float(
            np.clip(
                quality(values) - 0.03 * (status == "dropped") + generator.normal(0, 0.006), 0, 1
            )
        )
        scores.append(accuracy if monitor == "val_accuracy" else -math.log(accuracy))
        best.append(epochs)
        write_run(trial / f"split-{split}", accuracy, epochs)
    found = {
        "trial": f"{number:04d}",
        "values": values,
        "status": status,
        "scores": scores,
        "epochs": best,
        "score": fmean(scores) if scores else None,
        "spread": stdev(scores) if len(scores) > 1 else None,
        "seconds": 2.0 * splits * epochs,
        "weights": 61706,
        "message": "the loss became NaN <at step 7>" if status == "failed" else None,
        "created": 1000 + number,
        "ended": 1009 + number,
        "goes_on_from": None,
    }
    (trial / "trial.json").write_text(json.dumps(found))


def write_run(folder: Path, accuracy: float, epochs: int) -> None:
    """The part of a run's folder that is read: a curve that ends at `accuracy`, counts, a result."""
    folder.mkdir()
    shares = [accuracy * (1 - 0.5**epoch) / (1 - 0.5**epochs) for epoch in range(1, epochs + 1)]
    with open(folder / "history.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "accuracy", "val_loss", "val_accuracy"])
        writer.writerows(
            [
                [epoch, 1, 0.5, -math.log(share), share]
                for epoch, share in enumerate(shares, start=1)
            ]
        )
    (folder / "data.json").write_text(
        json.dumps({"counts": {"train": 1000, "validation": 250, "test": 500}})
    )
    (folder / "result.json").write_text(json.dumps({"validation_accuracy": accuracy}))


BEARABLE = {"sgd": 2.0, "adam": 0.02}  # the rate from which a formula diverges


def make_rates(folder: Path, rates: list[float], *, splits: int = 1, epochs: int = 8) -> Path:
    """A grid of rates and optimizers, of which each trial descends a bowl; what ends above where it began failed."""
    space = [
        OPTIMIZER | {"values": list(BEARABLE)},
        {"name": "learning_rate", "kind": "choice", "values": rates},
    ]
    write_sweep(folder, space=space, trials=len(rates) * len(BEARABLE), splits=f"kfold:{splits}")
    points = [
        {"optimizer": optimizer, "learning_rate": rate} for optimizer in BEARABLE for rate in rates
    ]
    for number, values in enumerate(points):
        share = values["learning_rate"] / BEARABLE[values["optimizer"]]
        losses = [math.log(10) * descent(share, 4 * epoch) for epoch in range(1, epochs + 1)]
        _write_descent(folder / "trials" / f"{number:04d}", values, losses, splits)
    return folder


def descent(share: float, step: int) -> float:
    """The loss after so many steps of gradient descent in a bowl, 1 at its start; it diverges above a share of 1."""
    return float(np.mean((1 - 2 * share * np.array([1.0, 0.3])) ** (2 * step)))


def _write_descent(trial: Path, values: dict[str, Any], losses: list[float], splits: int) -> None:
    failed = losses[-1] > 1e6
    scores = (
        [] if failed else [0.1 + 0.8 / (1 + losses[-1]) + 0.001 * split for split in range(splits)]
    )
    for split in range(1, splits + 1):
        run = trial / f"split-{split}"
        run.mkdir(parents=True)
        rows = [f"{epoch},{loss}" for epoch, loss in enumerate(losses, start=1)]
        (run / "history.csv").write_text(
            "\n".join(["epoch,loss", *rows[: 1 if failed else None]]) + "\n"
        )
        (run / "data.json").write_text(
            json.dumps({"classes": list("0123456789"), "counts": {"train": 1000}})
        )
        (run / "config.yaml").write_text("dataset: digits\nmodel: lenet5\n")
    found = {
        "trial": trial.name,
        "created": 2 * int(trial.name) + 1,
        "ended": 2 * int(trial.name) + 2,
        "values": values,
        "status": "failed" if failed else "completed",
        "scores": scores,
        "epochs": [len(losses)] * len(scores),
        "score": fmean(scores) if scores else None,
        "spread": stdev(scores) if len(scores) > 1 else None,
        "seconds": 1.0,
        "message": "loss is not finite at step 9 of epoch 2 (learning rate 3)" if failed else None,
    }
    (trial / "trial.json").write_text(json.dumps(found))


def write_winner(folder: Path) -> None:
    """The winner's last run."""
    winner = folder / "winner"
    winner.mkdir()
    result = {
        "dataset": "digits",
        "model": "lenet5",
        "test_accuracy": 0.95,
        "test_accuracy_low": 0.92,
        "test_accuracy_high": 0.969,
        "test_count": 360,
    }
    (winner / "result.json").write_text(json.dumps(result))
