"""Folders of sweeps as `epochal tune` leaves them, made by a formula instead of by training."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from epochal.app.store.data_card import Counts, DataCard
from epochal.app.store.result import Figures, Result
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
_CONFIG = "dataset: digits\nmodel: lenet5\n"
SPACE = [RATE, EPOCHS, OPTIMIZER, DECAY, BATCH]


def standings_of(folder: Path) -> Standings:
    """Return the standings of the sweep in a folder."""
    return read_standings(Sweep(folder))


def make_sweep(folder: Path, *, trials: int = 20, seed: int = 0, **settings: Any) -> Path:
    """Write a sweep in which only the learning rate matters much.

    One trial in ten failed, and every fifth was dropped.
    """
    generator = np.random.default_rng(seed)
    write_sweep(folder, trials=trials, **settings)
    plan = json.loads((folder / "sweep.json").read_text())
    for number in range(trials):
        status = "completed"
        if number % 10 == 7:
            status = "failed"
        elif number % 5 == 3:
            status = "dropped"
        values = draw(plan["space"], generator)
        write_trial(
            folder,
            number,
            status,
            values,
            plan["monitor"],
            generator,
        )
    return folder


def write_sweep(folder: Path, **settings: Any) -> None:
    """Write `sweep.json` and `config.yaml` of a sweep without trials."""
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
    (folder / "config.yaml").write_text(_CONFIG)


def draw(space: list[dict[str, Any]], generator: np.random.Generator) -> dict[str, Any]:
    """Return values of the hyperparameters that are active."""
    values: dict[str, Any] = {}
    for parameter in space:
        conditions = parameter.get("when", {})
        is_active = True
        for name, allowed in conditions.items():
            is_active = is_active and values.get(name) in allowed
        if is_active:
            values[parameter["name"]] = _value(parameter, generator)
    return values


def _value(parameter: dict[str, Any], generator: np.random.Generator) -> Any:
    kind = parameter["kind"]
    if kind == "choice":
        choices = parameter["values"]
        return choices[int(generator.integers(len(choices)))]
    low = parameter["low"]
    high = parameter["high"]
    if kind == "log":
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    if kind == "int":
        return int(generator.integers(low, high + 1))
    return generator.uniform(low, high)


def quality(values: dict[str, Any]) -> float:
    """Return the accuracy of values: best at a learning rate of 0.03, a little better with Adam."""
    decades = math.log10(values.get("learning_rate", 0.03) / 0.03)
    accuracy = 0.97 - 0.09 * decades * decades
    if values.get("optimizer") == "adam":
        accuracy += 0.004
    return max(0.1, accuracy)


def write_trial(
    folder: Path,
    number: int,
    status: str,
    values: dict[str, Any],
    monitor: str,
    generator: np.random.Generator,
) -> None:
    """Write `trial.json` and the runs of its splits: five completed ones, two of a dropped one."""
    trial = folder / "trials" / f"{number:04d}"
    trial.mkdir()
    splits = {"completed": 5, "dropped": 2}.get(status, 0)
    epochs = values.get("epochs", 6)
    mean = quality(values)
    if status == "dropped":
        mean -= 0.03
    scores = []
    for split in range(1, splits + 1):
        accuracy = float(np.clip(mean + generator.normal(0, 0.006), 0, 1))
        if monitor == "val_accuracy":
            scores.append(accuracy)
        else:
            scores.append(-math.log(accuracy))
        write_run(trial / f"split-{split}", accuracy, epochs)
    message = None
    if status == "failed":
        message = "the loss became NaN <at step 7>"
    _write_record(
        trial,
        status=status,
        values=values,
        scores=scores,
        epochs=[epochs] * splits,
        seconds=2.0 * splits * epochs,
        weights=61706,
        message=message,
        created=1000 + number,
        ended=1009 + number,
        goes_on_from=None,
    )


def _write_record(trial: Path, scores: list[float], **values: Any) -> None:
    record = {"trial": trial.name, "scores": scores, "score": None, "spread": None, **values}
    if scores:
        record["score"] = fmean(scores)
    if len(scores) > 1:
        record["spread"] = stdev(scores)
    (trial / "trial.json").write_text(json.dumps(record))


def write_run(folder: Path, accuracy: float, epochs: int) -> None:
    """Write what is read of a run: a curve that ends at `accuracy`, the data card, a result."""
    folder.mkdir()
    rows: list[list[Any]] = [["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]]
    for epoch in range(1, epochs + 1):
        share = accuracy * (1 - 0.5**epoch) / (1 - 0.5**epochs)
        rows.append([epoch, 1, 0.5, -math.log(share), share])
    with open(
        folder / "history.csv",
        "w",
        newline="",
        encoding="utf-8",
    ) as file:
        csv.writer(file).writerows(rows)
    write_data_card(folder)
    write_result(folder, validation=figures_of(accuracy))


def write_data_card(folder: Path) -> None:
    """Write the data card of ten classes in grey."""
    card = DataCard(
        classes=tuple("0123456789"),
        channels=1,
        stored_size=8,
        image_size=8,
        mean=(127.5,),
        deviation=(50.0,),
        fingerprint="0" * 64,
        counts=Counts(
            train=1000,
            validation=250,
            test=500,
        ),
    )
    (folder / "data.json").write_text(json.dumps(card.to_dict()))


def figures_of(accuracy: float) -> Figures:
    """Return the figures of a split of 360 images."""
    return Figures(
        accuracy=accuracy,
        accuracy_low=accuracy - 0.03,
        accuracy_high=accuracy + 0.019,
        loss=0.5,
        count=360,
    )


def write_result(
    folder: Path,
    *,
    validation: Figures | None = None,
    test: Figures | None = None,
    rollbacks: int = 0,
) -> None:
    """Write a run's result."""
    result = Result(
        dataset="digits",
        model="lenet5",
        params=61706,
        seed=0,
        epochs=6,
        best_epoch=6,
        wall_seconds=12.0,
        rollbacks=rollbacks,
        validation=validation,
        test=test,
    )
    (folder / "result.json").write_text(json.dumps(result.to_dict()))


BEARABLE = {"sgd": 2.0, "adam": 0.02}  # the rate from which a formula diverges


def make_rates(folder: Path, rates: list[float], *, splits: int = 1, epochs: int = 8) -> Path:
    """Write a grid of rates and optimizers, of which each trial descends a bowl.

    A trial that ends above where it began failed.
    """
    optimizers = OPTIMIZER | {"values": list(BEARABLE)}
    searched_rates = {"name": "learning_rate", "kind": "choice", "values": rates}
    trials = len(rates) * len(BEARABLE)
    write_sweep(
        folder,
        space=[optimizers, searched_rates],
        trials=trials,
        splits=f"kfold:{splits}" if splits > 1 else "holdout",
    )
    number = 0
    for optimizer, bearable in BEARABLE.items():
        for rate in rates:
            losses = []
            for epoch in range(1, epochs + 1):
                losses.append(math.log(10) * descent(rate / bearable, 4 * epoch))
            values = {"optimizer": optimizer, "learning_rate": rate}
            _write_descent(
                folder / "trials" / f"{number:04d}",
                values,
                losses,
                splits,
            )
            number += 1
    return folder


def descent(share: float, step: int) -> float:
    """Return the loss after so many steps of gradient descent in a bowl, 1 at its start.

    It diverges above a share of 1.
    """
    return float(np.mean((1 - 2 * share * np.array([1.0, 0.3])) ** (2 * step)))


def _write_descent(trial: Path, values: dict[str, Any], losses: list[float], splits: int) -> None:
    status = "completed"
    message = None
    recorded = losses
    if losses[-1] > 1e6:
        status = "failed"
        message = "loss is not finite at step 9 of epoch 2 (learning rate 3)"
        recorded = losses[:1]
    lines = ["epoch,loss"]
    for epoch, loss in enumerate(recorded, start=1):
        lines.append(f"{epoch},{loss}")
    scores = []
    for split in range(splits):
        run = trial / f"split-{split + 1}"
        run.mkdir(parents=True)
        (run / "history.csv").write_text("\n".join(lines) + "\n")
        (run / "config.yaml").write_text(_CONFIG)
        write_data_card(run)
        if status == "completed":
            scores.append(0.1 + 0.8 / (1 + losses[-1]) + 0.001 * split)
    _write_record(
        trial,
        status=status,
        values=values,
        scores=scores,
        epochs=[len(losses)] * len(scores),
        seconds=1.0,
        message=message,
        created=2 * int(trial.name) + 1,
        ended=2 * int(trial.name) + 2,
    )


def write_winner(folder: Path) -> None:
    """Write the winner's last run."""
    (folder / "winner").mkdir()
    write_result(
        folder / "winner", test=replace(figures_of(0.95), accuracy_low=0.92, accuracy_high=0.969)
    )
