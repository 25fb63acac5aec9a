"""An honest winner: where labels are random, what the search calls good is chance on images it has
not seen.
"""

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
from epochal.app.store.plan import Plan
from epochal.app.store.sweep import Sweep
from epochal.app.training.train import train_at
from epochal.app.tuning.oracle import Oracle
from epochal.app.tuning.selection import select_winner
from epochal.app.tuning.space import changed, read_space
from epochal.app.tuning.sweep import winner_config
from epochal.app.tuning.trial import run_trial

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


def search(root: Path, seed: int) -> tuple[float, float, float]:
    """Search without a chief: return the winner's mean and best score over the folds, and its test
    accuracy.
    """
    base = replace(BASE, seed=seed)
    space = read_space({"learning_rate": {"log": [0.001, 1]}}, "here", base)
    plan = Plan(space=space, trials=TRIALS, splits=str(Splits.of("kfold:3")), seed=seed)
    sweep = Sweep.begin(plan, base, "s", root)
    oracle = Oracle(plan, base.epochs)
    for _ in range(TRIALS):
        proposal = oracle.propose("here")
        assert proposal is not None
        sweep.record_creation(proposal)
        run_trial(sweep, proposal)
        outcome = sweep.read_outcome(proposal.trial)
        assert outcome is not None
        sweep.record_end(proposal.trial, outcome)
        oracle.tell(proposal.trial, outcome.score)
    best = select_winner(sweep.trials().values(), plan)
    assert best is not None
    assert best.score is not None
    config = winner_config(changed(base, best.values), best)
    result = train_at(sweep.winner, config, test=True)
    return best.score, max(best.scores), result.test.accuracy


@pytest.mark.slow
@pytest.mark.usefixtures("random_labels", "determinism_ends_here")
def test_a_search_over_random_labels_flatters_itself_and_its_test_accuracy_does_not(
    tmp_path: Path,
) -> None:
    found = [search(tmp_path / str(seed), seed) for seed in range(SEARCHES)]
    means, folds, tests = (statistics.mean(column) for column in zip(*found, strict=True))
    print(f"random labels: mean score {means:.4f}, best fold {folds:.4f}, test {tests:.4f}")
    spread = (0.1 * 0.9 / 359) ** 0.5 / SEARCHES**0.5
    assert abs(tests - 1 / CLASSES) < 3 * spread
    assert folds > 1 / CLASSES + 3 * spread
    assert folds > means
