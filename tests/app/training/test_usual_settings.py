"""The usual batch and rate by the data: few images, or few that have most of the weight."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from epochal.app.config import Config, Objective, Optim, Schedule
from epochal.app.data.dataset import Dataset
from epochal.app.data.load import load
from epochal.app.store.run import Run
from epochal.app.training.run.first_lines import first_lines
from epochal.app.training.run.setup import set_up
from epochal.app.training.step.objective import class_weights, weighted_share
from epochal.app.training.train import Session, train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

BALANCED = Config(
    model="softmax", epochs=2, batch_size=32, objective=Objective(class_weights="balanced")
)


def unequal(config: Config) -> Dataset:
    """The digits, of all classes but 0 a tenth of the training images."""
    dataset = load(config)
    labels = dataset.train.labels
    rare = np.flatnonzero(labels > 0)[::10]
    positions = np.sort(np.concatenate([np.flatnonzero(labels == 0), rare]))
    return replace(dataset, train=dataset.train.subset(positions))


def share() -> float:
    dataset = unequal(BALANCED)
    labels = dataset.train.labels
    weights = class_weights(BALANCED.objective, dataset.preprocessing.classes, labels)
    assert weights is not None
    return weighted_share(weights, labels)


def test_the_usual_rate_is_that_of_a_batch_as_noisy() -> None:
    setup = set_up(BALANCED, load=unequal)
    assert setup.config.rate == pytest.approx(0.1 * share(), rel=0.05)
    assert float(setup.model.optimizer.learning_rate) == pytest.approx(setup.config.rate)
    worth = 32 * share()
    assert f"a batch of 32 images is as noisy as one of {worth:.3g} would be" in first_lines(
        setup, None
    )
    adam = set_up(replace(BALANCED, optimizer="adam"), load=unequal)
    assert adam.config.rate == pytest.approx(0.001 * share() ** 0.5, rel=0.05)


def test_other_rates_are_left_alone() -> None:
    given = replace(BALANCED, learning_rate=0.07)
    assert set_up(given, load=unequal).config.rate == 0.07
    assert set_up(replace(BALANCED, objective=Objective()), load=unequal).config.rate == 0.1
    assert set_up(BALANCED).config.rate == 0.1  # the classes of the digits are nearly equal


def test_the_rate_is_kept_with_the_run_which_goes_on_at_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    session = Session(load=unequal)
    once = replace(BALANCED, stopping=replace(BALANCED.stopping, after=1))
    train_at(run, once, test=False, session=session)
    assert run.config().rate == pytest.approx(0.1 * share(), rel=0.05)
    run.result_file.unlink()
    result = train_at(run, BALANCED, test=False, session=session)
    assert run.config().rate == pytest.approx(0.1 * share(), rel=0.05)
    assert result.epochs == 2


def few(config: Config) -> Dataset:
    """The digits, with 180 training images."""
    dataset = load(config)
    return replace(dataset, train=dataset.train.subset(np.arange(180)))


def test_few_images_are_taken_in_smaller_batches_at_a_lower_rate() -> None:
    plain = Config(model="softmax")
    setup = set_up(plain, load=few)
    assert (setup.config.batch_size, setup.config.rate) == (16, 0.025)
    assert setup.batches.steps == 12
    assert "batches of 16, learning rate 0.025" in first_lines(setup, None)
    adam = set_up(replace(plain, optimizer="adam"), load=few).config
    assert (adam.batch_size, adam.rate) == (16, 0.0005)
    assert set_up(plain).config.batch_size == 64


@pytest.mark.parametrize(
    ("given", "batch", "rate"),
    [
        (Config(model="softmax", batch_size=64), 64, 0.1),
        (Config(model="softmax", learning_rate=0.1), 16, 0.1),
        (Config(model="softmax", schedule=Schedule(batch=32)), 16, 0.05),
        (Config(model="softmax", optim=Optim(micro_batches=20)), 32, 0.05),
    ],
)
def test_what_is_given_is_left_alone(given: Config, batch: int, rate: float) -> None:
    config = set_up(given, load=few).config
    assert (config.global_batch, config.peak_rate) == (batch, rate)
