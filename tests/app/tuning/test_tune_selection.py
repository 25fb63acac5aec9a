"""Which trials are dropped and which one wins: on planted searches whose truth is known."""

import math
import statistics

import numpy as np
import pytest
from scipy.stats import ttest_rel

from epochal.app.config import Config
from epochal.app.config.stopping import Stopping
from epochal.app.store.plan import Plan
from epochal.app.store.trials import Trial
from epochal.app.tuning.oracle import Oracle
from epochal.app.tuning.selection import is_clearly_worse, select_winner
from epochal.app.tuning.space import read_space
from epochal.app.tuning.sweep import winner_config

SEARCH = {"learning_rate": {"log": [1e-5, 1]}, "optim": {"weight_decay": {"log": [1e-7, 1e-1]}}}
PLAN = Plan(space=read_space(SEARCH, "here", Config()))
FOLDS = 5


@pytest.mark.parametrize("seed", range(8))
def test_the_test_is_the_one_sided_paired_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    best = generator.normal(0.9, 0.01, FOLDS)
    own = generator.normal(0.89, 0.01, seed % 3 + 2)
    expected = ttest_rel(best[: len(own)], own, alternative="greater").pvalue < 0.05
    assert is_clearly_worse(list(own), list(best), 1) == expected
    assert is_clearly_worse(list(-own), list(-best), -1) == expected


def test_one_split_drops_nothing_and_an_equal_difference_at_once() -> None:
    assert not is_clearly_worse([0.1], [0.9] * FOLDS, 1)
    assert is_clearly_worse([0.5, 0.25], [0.75, 0.5, 1.0], 1)
    assert not is_clearly_worse([0.5, 0.25], [0.5, 0.25, 1.0], 1)


def dropped_early(seed: int, trials: int = 20) -> tuple[float, bool]:
    """A random search over true accuracies, folds of different difficulty, noise: share of fits
    saved, winner kept.
    """
    generator = np.random.default_rng(seed)
    truth = 0.95 - 0.05 * generator.uniform(0, 1.5, trials) ** 2
    scores = (
        truth[:, None]
        + generator.normal(0, 0.01, FOLDS)
        + generator.normal(0, 0.005, (trials, FOLDS))
    )
    best = 0
    fits = 0
    for trial, own in enumerate(scores):
        done = 1
        while done < FOLDS and not (
            trial and is_clearly_worse(list(own[:done]), list(scores[best]), 1)
        ):
            done += 1
        fits += done
        if done == FOLDS and own.mean() > scores[best].mean():
            best = trial
    return 1 - fits / (FOLDS * trials), best == scores.mean(axis=1).argmax()


def test_dropping_saves_a_third_and_keeps_the_winner() -> None:
    found = [dropped_early(seed) for seed in range(20)]
    assert statistics.median(saved for saved, _ in found) >= 0.3
    assert sum(kept for _, kept in found) >= 18


def trials_needed(algorithm: str, seed: int, most: int = 40) -> int:
    """Return the number of trials until one lies within a tenth of the ranges around the planted
    optimum.
    """
    plan = Plan(space=PLAN.space, algorithm=algorithm, trials=most, seed=seed)
    oracle = Oracle(plan, 1)
    for number in range(1, most + 1):
        proposal = oracle.propose("worker")
        assert proposal is not None
        rate_distance = math.log10(proposal.values["learning_rate"]) + 2
        decay_distance = math.log10(proposal.values["optim.weight_decay"]) + 4
        distance = math.hypot(rate_distance, decay_distance)
        if distance < 0.4:
            return number
        oracle.tell(proposal.trial, 0.95 - 0.02 * distance**2)
    return most


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bayesian_search_needs_fewer_trials_than_random() -> None:
    needed = {
        name: statistics.median(trials_needed(name, seed) for seed in range(20))
        for name in ("random", "bayesian")
    }
    print(needed)
    assert needed["bayesian"] < needed["random"]


def trial(name: str, scores: tuple[float, ...], weights: int, status: str = "completed") -> Trial:
    score = statistics.mean(scores)
    return Trial(name=name, status=status, scores=scores, score=score, weights=weights)


TRIALS = [
    trial("0", (0.90, 0.94), 900),  # the best: 0.92, standard error 0.02
    trial("1", (0.90, 0.91), 100),
    trial("2", (0.89, 0.90), 10),
    trial("3", (0.99, 0.99), 1, "dropped"),
]


@pytest.mark.parametrize(("select", "name"), [("best", "0"), ("one-se", "1")])
def test_the_winner_is_the_best_or_the_smallest_within_a_standard_error(
    select: str, name: str
) -> None:
    winner = select_winner(TRIALS, Plan(space=PLAN.space, select=select))
    assert winner is not None
    assert winner.name == name


def test_a_dropped_trial_does_not_win() -> None:
    assert select_winner(TRIALS[3:], PLAN) is None


def test_the_smallest_loss_wins() -> None:
    plan = Plan(space=PLAN.space, monitor="val_loss")
    assert select_winner(TRIALS, plan) == TRIALS[2]


@pytest.mark.parametrize(
    ("patience", "until", "best_epochs", "last"),
    [
        (None, None, (7,), 30),
        (None, 2, (2,), 30),  # a short trial of Hyperband
        (None, 30, (2, 3, 30), 30),
        (5, None, (7,), 7),
        (5, None, (7, 12, 9), 9),
        (5, None, (28,), 30),  # which no patience ended
        (5, 10, (5,), 5),
        (5, 10, (6,), 30),
    ],
)
def test_the_winner_is_trained_to_the_end_of_its_course(
    patience: int | None, until: int | None, best_epochs: tuple[int, ...], last: int
) -> None:
    config = Config(epochs=30, stopping=Stopping(patience=patience, after=until))
    winner = Trial(name="0", status="completed", epochs=best_epochs, until=until)
    trained = winner_config(config, winner)
    assert trained.last_epoch == last
    assert trained.epochs == 30
    assert trained.stopping.patience is None
