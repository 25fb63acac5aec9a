"""Training on a few images as configured, but for all that keeps a model from learning them by heart."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from epochal.app.config import Augment, Config, Emphasis
from epochal.app.data.dataset import Split
from epochal.app.doctor.learning import Learned, above_chance, accuracy_of, learn
from epochal.app.doctor.model_copy import drops
from epochal.app.doctor.sample_images import images_of, plain_batches
from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.training.probes.probe_steps import undone
from epochal.app.training.run.callback_list import as_in_first_epoch
from epochal.app.training.run.setup import Setup, set_up, start

PASSES = 300  # over the batches to overfit, at most
STEPS = 2000  # on a rung of the ladder, at most
FIRST_RUNGS = (1, 5)  # then powers of ten


def unregularized(config: Config) -> Config:
    """The configuration without augmentation, emphasis, weight decay and label smoothing, at a constant rate."""
    return replace(
        config,
        emphasis=Emphasis(),
        augment=Augment(pad_crop=0, flip=False, scale_crop=False),
        optim=replace(config.optim, weight_decay=0.0, l1=0.0, l1_proximal=False),
        objective=replace(config.objective, label_smoothing=0.0),
    )


def overfit(config: Config, batches: int) -> tuple[int, Learned]:
    """Trains on so many batches until they are known by heart, for at most `PASSES` passes; stores nothing.

    Returns the number of images, and what was learned.

    Raises:
        UsageError: as training does, or for more batches than there are.
        TrainingFailed: when the images were not memorised.
    """
    setup = _prepared(config)
    if batches > setup.batches.steps:
        raise UsageError(
            f"--overfit-batches: the training images make {setup.batches.steps} batches, got {batches}"
        )
    split = _drawn(setup, batches * config.batch_size)
    learned = _fitted(setup, split, PASSES * batches)
    if not learned.by_heart:
        reached = (
            f"accuracy {learned.accuracy:.1%}, loss {learned.loss:.3g} after {learned.steps} steps"
        )
        raise TrainingFailed(
            f"{len(split)} images could not be memorised ({reached}); "
            "try another --learning-rate (epochal lr-find), or epochal doctor with these options"
        )
    return len(split), learned


@dataclass(frozen=True, kw_only=True)
class Rung:
    """What came of training on so many images; accuracies are those of inference mode."""

    images: int
    learned: Learned
    train_accuracy: float
    validation_accuracy: float
    bound: float  # what guessing passes once in 700 times

    @property
    def generalises(self) -> bool:
        """Whether validation beats chance."""
        return self.validation_accuracy > self.bound


def ladder(config: Config) -> Iterator[Rung]:
    """Trains on 1, 5, 10, 100, ... images, from the same weights each time, until they fit; stores nothing.

    The images of a rung are among those of the next. Chance is the share of the commonest class in validation
    (row J2 of the lectures).

    Raises:
        UsageError: as training does.
    """
    setup = _prepared(config)
    images, labels = images_of(setup, setup.dataset.validation)
    bound = above_chance(np.bincount(labels).max() / len(labels), len(labels))
    with undone(setup) as put_back:
        for count in rungs(len(setup.dataset.train)):
            put_back()
            split = _drawn(setup, count)
            learned = _fitted(setup, split, STEPS)
            yield Rung(
                images=count,
                learned=learned,
                train_accuracy=accuracy_of(setup.model, *images_of(setup, split)),
                validation_accuracy=accuracy_of(setup.model, images, labels),
                bound=bound,
            )


def rungs(images: int) -> list[int]:
    """1, 5, 10, 100, 1000, ... up to so many images."""
    powers = [10**power for power in range(1, len(str(images)))]
    return [rung for rung in (*FIRST_RUNGS, *powers) if rung <= images]


def _prepared(config: Config) -> Setup:
    """A set-up for learning by heart, its train function made."""
    setup = set_up(unregularized(config))
    start(setup)
    for layer in setup.model.layers:
        if drops(layer):
            layer.rate = 0.0
    as_in_first_epoch(setup)
    return setup


def _drawn(setup: Setup, count: int) -> Split:
    """Training images drawn by the seed, the first of an order that does not depend on their number."""
    split = setup.dataset.train
    return split.subset(np.random.default_rng(setup.config.seed).permutation(len(split))[:count])


def _fitted(setup: Setup, split: Split, most: int) -> Learned:
    """What the model makes of the images at the configured rate.

    Raises:
        TrainingFailed: when the loss is not finite.
    """
    batches = plain_batches(setup, split, setup.config.batch_size)
    learned = learn(setup.model, batches, most, setup.strategy)
    if not math.isfinite(learned.loss):
        raise TrainingFailed(
            f"the loss on {len(split)} images is not finite; lower --learning-rate"
        )
    return learned
