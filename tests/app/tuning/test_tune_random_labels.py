"""An honest winner: where labels are random, what the search calls good is chance on images it has not seen."""

import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Config
from epochal.app.config.splits import Splits
from epochal.app.data.dataset import RawDataset
from epochal.app.data.load import SOURCES
from epochal.app.data.sources import digits
from epochal.app.store.run import Run
from epochal.app.store.trials import Records
from epochal.app.training.train import train_at
from epochal.app.tuning import oracles
from epochal.app.tuning.plan import Plan
from epochal.app.tuning.selection import winner
from epochal.app.tuning.space import changed, read_space
from epochal.app.tuning.sweep import retrained
from epochal.app.tuning.trial import read_report, run_trial

SEARCHES = 20
TRIALS = 4
CLASSES = 10
BASE = Config(model="softmax", epochs=2, batch_size=256)


@pytest.fixture
def random_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits with labels that tell nothing."""

    def drawn(config: Config) -> RawDataset:
        source = digits.read(config)
        labels = np.random.default_rng(7).permutation(source.splits["all"].labels)
        return replace(source, splits={"all": replace(source.splits["all"], labels=labels)})

    monkeypatch.setitem(SOURCES, "digits", drawn)


def searched(folder: Path, seed: int) -> tuple[float, float, float]:
    """A search without a chief: the winner's mean and best score over the folds, and its test accuracy."""
    base = replace(BASE, seed=seed)
    space = read_space({"learning_rate": {"log": [0.001, 1]}}, "here", base)
    plan = Plan(space=space, trials=TRIALS, splits=str(Splits.of("kfold:3")), seed=seed)
    records = Records(folder)
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
    result = train_at(
        Run(folder / "winner"), retrained(changed(base, best["values"]), best["epochs"]), test=True
    )
    return best["score"], max(best["scores"]), result["test_accuracy"]


@pytest.mark.slow
@pytest.mark.usefixtures("random_labels", "determinism_ends_here")
def test_a_search_over_random_labels_flatters_itself_and_its_test_accuracy_does_not(
    tmp_path: Path,
) -> None:
    found = [searched(tmp_path / str(seed), seed) for seed in range(SEARCHES)]
    means, folds, tests = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"random labels: mean score {means:.4f}, best fold {folds:.4f}, test {tests:.4f}")
    spread = (0.1 * 0.9 / 359) ** 0.5 / SEARCHES**0.5
    assert abs(tests - 1 / CLASSES) < 3 * spread
    assert folds > 1 / CLASSES + 3 * spread
    assert folds > means
