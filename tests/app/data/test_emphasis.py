"""Emphasis on hard images: probabilities, draws, weights, trimming, bit-exact resuming."""

import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from epochal.app.config import Augment, Config, Data, Emphasis, Optim
from epochal.app.data.hard_examples import (
    HardExamples,
    capped,
    draw_images,
    highest,
    probabilities,
    suspected,
)
from epochal.app.data.order import permutation
from epochal.app.training.run.callback_list import emphasis
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.step.classifier import Callbacks
from tests.support.messages import heard
from tests.support.program import epochal, outcome, saved, start, stop_when

pytestmark = pytest.mark.usefixtures("determinism_ends_here")

MLP = Config(model="mlp", epochs=4, batch_size=256)  # 5 steps an epoch, the last one partial
LOSSES = st.integers(2, 60).flatmap(
    lambda count: arrays(np.float64, count, elements=st.floats(0, 100))
)
SAMPLER = Emphasis(by="sampler", start=1)


def learned(settings: Emphasis, losses: np.ndarray, order: str = "shuffled") -> HardExamples:
    """After an epoch with these losses."""
    config = Config(emphasis=settings, data=Data(order=order))
    hard = HardExamples(config, np.zeros(len(losses), np.int32))
    hard.learn(np.arange(len(losses)), losses)
    return hard


@given(losses=LOSSES, power=st.floats(0, 4), cap=st.floats(2, 50), trim=st.floats(0, 0.5))
def test_probabilities_are_capped_and_sum_to_one(
    losses: np.ndarray, power: float, cap: float, trim: float
) -> None:
    chances = probabilities(losses, Emphasis(by="sampler", power=power, cap=cap, trim=trim))
    assert chances.sum() == pytest.approx(1)
    assert chances.max() <= cap / len(losses)
    assert np.array_equal(np.flatnonzero(chances == 0), np.sort(highest(losses, trim)))


def test_below_the_cap_probabilities_are_proportional_to_a_power_of_the_loss() -> None:
    losses = np.array([1.0, 4.0, 9.0, 16.0, 100.0])
    chances = probabilities(losses, Emphasis(by="sampler", power=0.5, cap=2))
    # Shares 1, 2, 3, 4, 10 of 20: the last would get 1/2, may get 2/5, and the others share 3/5 as
    # 1 : 2 : 3 : 4.
    assert chances == pytest.approx([0.06, 0.12, 0.18, 0.24, 0.4])


def test_what_the_cap_takes_may_lift_others_to_the_cap() -> None:
    # 0.6, 0.3, 0.05, 0.05: with 0.4 for the first, 0.6 * 0.3 / 0.4 is 0.45, and 0.2 is left for the
    # last two.
    assert capped(np.array([12.0, 6.0, 1.0, 1.0]), 0.4) == pytest.approx([0.4, 0.4, 0.1, 0.1])


@given(losses=LOSSES, offset=st.floats(0, 1, exclude_max=True))
def test_draws_are_the_expected_ones_rounded_up_or_down(losses: np.ndarray, offset: float) -> None:
    chances = probabilities(losses, SAMPLER)
    draws = np.bincount(draw_images(chances, offset), minlength=len(losses))
    assert draws.sum() == len(losses)
    assert (np.abs(draws - len(losses) * chances) < 1 + 1e-9).all()


def test_each_image_is_drawn_by_its_probability_on_average_over_the_offset() -> None:
    chances = probabilities(np.random.default_rng(0).exponential(size=40), SAMPLER)
    # Draws change where an offset meets a place of the cumulated probabilities: exact between
    # these.
    edges = np.unique([0.0, *(np.cumsum(chances) * 40 % 1), 1.0])
    draws = [
        np.bincount(draw_images(chances, middle), minlength=40)
        for middle in (edges[1:] + edges[:-1]) / 2
    ]
    assert np.diff(edges) @ np.array(draws) == pytest.approx(40 * chances, abs=1e-9)


@pytest.mark.parametrize("trim", [0.0, 0.25])
def test_unbiased_weights_keep_the_expected_gradient(trim: float) -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(24, 3))
    targets = random.normal(size=24)
    weights = random.normal(size=3)
    gradients = 2 * (features @ weights - targets)[:, None] * features
    losses = (features @ weights - targets) ** 2
    hard = learned(replace(SAMPLER, unbiased=True, trim=trim), losses)
    images, factors = hard.arrange(1)
    chances = probabilities(hard.losses, replace(SAMPLER, trim=trim))
    kept = np.flatnonzero(chances)
    factor = dict(zip(images, factors, strict=True))
    assert all(
        value == pytest.approx(1 / (len(kept) * chances[image])) for image, value in factor.items()
    )
    expected = (chances[kept] / (len(kept) * chances[kept])) @ gradients[kept]
    assert expected == pytest.approx(gradients[kept].mean(axis=0), rel=1e-12)
    assert np.abs(chances @ gradients - expected).max() > 0.1  # without weights it is another


def test_weights_have_the_mean_one_and_trimmed_images_weigh_nothing() -> None:
    losses = np.random.default_rng(2).exponential(size=100)
    images, weights = learned(Emphasis(by="weights", start=1, trim=0.1), losses).arrange(1)
    assert sorted(images) == list(range(100))
    assert weights.mean() == pytest.approx(1)
    assert weights.max() <= 4
    assert set(images[weights == 0]) == set(np.argsort(losses)[90:])


def test_an_average_moves_by_half_and_images_that_did_not_come_keep_theirs() -> None:
    hard = learned(SAMPLER, np.array([1.0, 2.0, 3.0]))
    hard.learn(np.array([0, 0, 2]), np.array([2.0, 4.0, 7.0]))
    assert hard.losses == pytest.approx([2.0, 2.0, 5.0])


def test_images_that_never_came_count_as_average() -> None:
    hard = HardExamples(replace(MLP, emphasis=SAMPLER), np.zeros(3, np.int32))
    hard.learn(np.array([0, 0, 1]), np.array([1.0, 1.0, 3.0]))
    assert np.isnan(hard.losses[2])
    known = probabilities(np.array([1.0, 3.0, 2.0]), SAMPLER)
    assert probabilities(hard.losses, SAMPLER) == pytest.approx(known)


def test_without_any_losses_images_are_alike() -> None:
    # Trials of learning rates move through epochs and learn no losses.
    images, weights = HardExamples(replace(MLP, emphasis=SAMPLER), np.zeros(9, np.int32)).arrange(3)
    assert np.array_equal(images, permutation(0, 3, 9))
    assert (weights == 1).all()


def fitted(setup: Setup) -> Setup:
    """Trained with what finds the losses and nothing else, as `fit` moves through the epochs."""
    moves = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setup.batches.position.set(epoch)
    )
    everyone = Callbacks(
        [moves, *emphasis(setup)],
        add_history=True,
        model=setup.model,
        epochs=setup.config.epochs,
        steps=setup.batches.steps,
    )
    setup.model.fit(
        setup.batches.dataset(),
        epochs=setup.config.epochs,
        callbacks=everyone,
        shuffle=False,
        verbose=0,
    )
    return setup


def averages(setup: Setup) -> np.ndarray:
    """The moving average of every training image's loss."""
    assert setup.model.sample_losses is not None
    return setup.model.sample_losses.get_state()["averages"]


@pytest.mark.parametrize("by", ["sampler", "weights"])
def test_power_0_is_plain_training_to_the_bit(by: str) -> None:
    plain = fitted(set_up(MLP))
    alike = fitted(set_up(replace(MLP, emphasis=Emphasis(by=by, start=1, power=0.0))))  # type: ignore[arg-type]
    for own, other in zip(plain.model.weights, alike.model.weights, strict=True):
        assert np.array_equal(own.numpy(), other.numpy())


def test_batches_without_emphasis_hold_images_and_labels_alone() -> None:
    setup = set_up(MLP)
    assert len(setup.batches.dataset().element_spec) == 2
    assert setup.model.sample_losses is None


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_losses_are_recorded_at_their_images(micro_batches: int) -> None:
    still = replace(MLP, model="softmax", learning_rate=1e-12, augment=Augment(pad_crop=0))
    setup = fitted(
        set_up(
            replace(
                still,
                emphasis=replace(SAMPLER, power=1.0),
                optim=Optim(micro_batches=micro_batches),
            )
        )
    )
    split = setup.dataset.train
    logits = setup.model(split.read())
    assert averages(setup) == pytest.approx(
        setup.model.objective.loss(split.labels, logits).numpy(), rel=1e-4
    )


def test_two_fits_with_one_instance_are_alike() -> None:
    setup = set_up(replace(MLP, model="softmax", learning_rate=1e-12, emphasis=SAMPLER))
    first = averages(fitted(setup))
    assert averages(fitted(setup)) == pytest.approx(first, rel=1e-4)
    assert not np.isnan(first).any()


def with_wrong_labels(share: float, **options: Any) -> tuple[Setup, np.ndarray]:
    """A set-up that emphasises, and the images whose labels are wrong."""
    plain = replace(MLP, model="softmax", epochs=6, batch_size=64, augment=Augment(pad_crop=0))
    setup = set_up(replace(plain, emphasis=Emphasis(by="weights", start=3, **options)))
    labels = setup.dataset.train.labels
    planted = np.random.default_rng(0).choice(len(labels), int(share * len(labels)), replace=False)
    labels[planted] = (labels[planted] + 1 + np.arange(len(planted)) % 9) % 10
    return setup, planted


def test_trimming_finds_planted_labels() -> None:
    setup, planted = with_wrong_labels(0.1, trim=0.1)
    out = highest(averages(fitted(setup)), 0.1)
    assert len(set(out) & set(planted)) / len(planted) > 0.85


@pytest.mark.parametrize(
    ("share", "options", "warnings"), [(0.0, {}, 0), (0.2, {}, 1), (0.2, {"trim": 0.1}, 0)], ids=str
)
def test_wrong_labels_are_suspected_once_unless_they_are_trimmed(
    share: float, options: dict, warnings: int
) -> None:
    with heard() as told:
        fitted(with_wrong_labels(share, **options)[0])
    assert len(told) == warnings
    for line in told:
        found = re.match(
            r"(\d+)% of the training images .* wrong labels\? .* --emphasis.trim 0.(\d+)$", line
        )
        assert found is not None
        assert int(found[1]) == int(found[2]) == pytest.approx(100 * share, abs=5)


@given(share=st.floats(0, 0.5), classes=st.integers(2, 100))
def test_images_are_suspected_where_a_tenth_lies_beyond_a_gap(share: float, classes: int) -> None:
    guess = np.log(classes)
    wrong = int(share * 201)
    losses = np.array([1.5 * guess] * wrong + [0.3 * guess] * (201 - wrong))
    assert suspected(losses, classes) == (wrong / 201 if wrong / 201 >= 0.1 else 0)
    assert suspected(np.linspace(0, 1.2 * guess, 201), classes) == 0


@pytest.mark.parametrize("decay", [0.45, 0.6, 0.8, 1.2])
def test_hard_images_of_a_network_that_has_barely_learned_are_not_suspected(decay: float) -> None:
    """At too high a rate a tenth to half are worse than a guess, the harder the fewer."""
    guess = np.log(10)
    places = (np.arange(5000) + 0.5) / 5000
    hard = -decay * guess * np.log(places)
    assert 0.1 < np.mean(hard > guess) < 0.5
    assert suspected(hard, 10) == 0
    learned = np.concatenate([0.2 * hard, guess * (1.65 + 0.2 * np.sin(7 * places[::4]))])
    assert suspected(learned, 10) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("middle", "width"), [(0.98, 0.1), (1.05, 0.3), (5.0, 5.0)])
def test_images_of_a_network_at_chance_are_not_suspected(middle: float, width: float) -> None:
    losses = np.random.default_rng(0).normal(middle, width, 5000).clip(0) * np.log(10)
    assert np.mean(losses > np.log(10)) > 0.4
    assert suspected(losses, 10) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["sampler", "--emphasis.unbiased", "true"], ["weights", "--devices", 2]]
)
def test_killed_and_resumed_to_the_bit(tmp_path: Path, options: list) -> None:
    words = [
        "train",
        "--model",
        "mlp",
        "--epochs",
        4,
        "--checkpoint-seconds",
        0,
        "--emphasis.trim",
        0.1,
    ]
    words += ["--emphasis.by", *options, "--name"]
    assert epochal([*words, "whole"], tmp_path).returncode == 0
    command = [*words, "killed"]
    run = tmp_path / "runs/killed"
    for place in (
        (1, 9),
        (2, 11),
    ):  # while losses are gathered for the first emphasised epoch, and in that epoch
        process = start(command, tmp_path)
        assert (
            stop_when(process, lambda place=place: saved(run) >= place, signal.SIGKILL)
            == -signal.SIGKILL
        )
        command = ["train", "--resume", "killed"]
    done = epochal(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(run) == outcome(tmp_path / "runs/whole")
