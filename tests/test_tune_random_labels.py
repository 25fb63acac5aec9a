"""An honest winner: where labels are random, what the search calls good is chance on images it has not seen."""

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.config import Config
from app.data import load as loading
from app.data.load import Source
from app.runs import Run
from app.settings.splits import Splits
from app.training.train import train_at
from app.tuning import oracles
from app.tuning.plan import Plan
from app.tuning.records import Records
from app.tuning.selection import winner
from app.tuning.space import changed, read_space
from app.tuning.sweep import retrained
from app.tuning.trial import read_report, run_trial

SEARCHES, TRIALS, CLASSES = 20, 4, 10
BASE = Config(model="softmax", epochs=2, batch_size=256)


@pytest.fixture
def random_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits with labels that tell nothing."""
    digits = loading._digits

    def drawn(config: Config) -> Source:
        source = digits(config)
        labels = np.random.default_rng(7).permutation(source.splits["all"].labels)
        return replace(source, splits={"all": replace(source.splits["all"], labels=labels)})

    monkeypatch.setattr(loading, "_digits", drawn)


def searched(folder: Path, seed: int) -> tuple[float, float, float]:
    """A search without a chief: the winner's mean and best score over the folds, and its test accuracy."""
    base = replace(BASE, seed=seed)
    space = read_space({"learning_rate": {"log": [0.001, 1]}}, "here", base)
    plan, records = Plan(space=space, trials=TRIALS, splits=str(Splits.of("kfold:3")), seed=seed), Records(folder)
    oracle = oracles.make_oracle(plan, base.epochs)
    for _ in range(TRIALS):
        asked = oracles.asked(oracle.create_trial("here"), plan)
        records.created(asked)
        run_trial(folder, plan, base, asked)
        report = read_report(records.place(asked["trial"]))
        assert report is not None
        records.ended(asked["trial"], report)
        oracles.end(oracle, asked["trial"], report["score"])
    best = winner([record for record in records.all().values() if record], plan)
    assert best is not None
    result = train_at(Run(folder / "winner"), retrained(changed(base, best["values"]), best["epochs"]), test=True)
    return best["score"], max(best["scores"]), result["test_accuracy"]


@pytest.mark.slow
@pytest.mark.usefixtures("random_labels", "determinism_ends_here")
def test_a_search_over_random_labels_flatters_itself_and_its_test_accuracy_does_not(tmp_path: Path) -> None:
    found = [searched(tmp_path / str(seed), seed) for seed in range(SEARCHES)]
    means, folds, tests = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"random labels: mean score {means:.4f}, best fold {folds:.4f}, test {tests:.4f}")
    spread = (0.1 * 0.9 / 359) ** 0.5 / SEARCHES**0.5
    assert abs(tests - 1 / CLASSES) < 3 * spread
    assert folds > 1 / CLASSES + 3 * spread
    assert folds > means
