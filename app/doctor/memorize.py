"""Memorisation as configured: a few batches by heart, and a ladder of ever more images.

All that keeps a model from learning images by heart is taken out of the configuration.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from epochal.app.config import Augment, Config, Emphasis
from epochal.app.data.dataset import Split
from epochal.app.doctor.learning import Learned, chance_bound, learn, measure_accuracy
from epochal.app.doctor.model_copy import is_dropout
from epochal.app.doctor.sample_images import make_plain_batches, read_images
from epochal.app.errors import TrainingFailed, UsageError
from epochal.app.streams import generator
from epochal.app.training.probes.probe_steps import undone
from epochal.app.training.run.callback_list import as_in_first_epoch
from epochal.app.training.run.setup import Setup, set_up, start

MAX_PASSES = 300  # over the batches to overfit
MAX_STEPS = 2000  # on a rung of the ladder
FIRST_RUNGS = (1, 5)  # then powers of ten


def remove_regularization(config: Config) -> Config:
    """Return the configuration without augmentation, emphasis, weight decay and label smoothing."""
    return replace(
        config,
        emphasis=Emphasis(),
        augment=Augment(pad_crop=0, flip=False, scale_crop=False),
        optim=replace(
            config.optim,
            weight_decay=0.0,
            l1=0.0,
            l1_proximal=False,
        ),
        objective=replace(config.objective, label_smoothing=0.0),
    )


def overfit(config: Config, batches: int, *, max_passes: int = MAX_PASSES) -> tuple[int, Learned]:
    """Train on a few batches, at a constant rate, until they are known by heart; store nothing.

    Args:
        config: of the run
        batches: to train on
        max_passes: over the batches

    Returns:
        The number of images, and what was learned.

    Raises:
        UsageError: as training does, or for more batches than there are.
        TrainingFailed: when the images were not memorised.
    """
    setup = _set_up_unregularized(config)
    if batches > setup.batches.steps:
        raise UsageError(
            f"--overfit-batches: the training images make {setup.batches.steps} batches, "
            f"got {batches}"
        )
    split = _draw_images(setup, batches * config.global_batch)
    learned = _fit(setup, split, max_passes * batches)
    if not learned.by_heart:
        raise TrainingFailed(
            f"{len(split)} images could not be memorised (accuracy {learned.accuracy:.1%}, "
            f"loss {learned.loss:.3g} after {learned.steps} steps); "
            "try another --learning-rate (epochal lr-find), or epochal doctor with these options"
        )
    return len(split), learned


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One number of images on the ladder, and the accuracies in inference mode after training.

    Args:
        images: number of training images
        learned: loss and accuracy as training logs them
        train_accuracy: on these images
        validation_accuracy: on all validation images
        bound: validation accuracy that guessing exceeds once in 700 times
    """

    images: int
    learned: Learned
    train_accuracy: float
    validation_accuracy: float
    bound: float

    @property
    def generalises(self) -> bool:
        """Tell whether validation beats chance."""
        return self.validation_accuracy > self.bound


def climb_ladder(
    config: Config, *, rungs: Sequence[int] | None = None, max_steps: int = MAX_STEPS
) -> Iterator[Rung]:
    """Train on 1, 5, 10, 100, ... images, from the same weights each time; store nothing.

    The images of a rung are among those of the next. Chance is the share of the commonest class
    in validation.

    Args:
        config: of the run
        rungs: numbers of images (None: up to all)
        max_steps: on each

    Raises:
        UsageError: as training does.
    """
    setup = _set_up_unregularized(config)
    images, labels = read_images(setup, setup.dataset.validation)
    chance = np.bincount(labels).max() / len(labels)
    bound = chance_bound(chance, len(labels))
    if rungs is None:
        rungs = list_rungs(len(setup.dataset.train))
    with undone(setup) as put_back:
        for count in rungs:
            put_back()
            split = _draw_images(setup, count)
            learned = _fit(setup, split, max_steps)
            train_images, train_labels = read_images(setup, split)
            yield Rung(
                images=count,
                learned=learned,
                train_accuracy=measure_accuracy(
                    setup.model,
                    train_images,
                    train_labels,
                ),
                validation_accuracy=measure_accuracy(
                    setup.model,
                    images,
                    labels,
                ),
                bound=bound,
            )


def list_rungs(images: int) -> list[int]:
    """Return 1, 5, 10, 100, 1000, ... up to a number of images."""
    rungs = [count for count in FIRST_RUNGS if count <= images]
    power = 10
    while power <= images:
        rungs.append(power)
        power *= 10
    return rungs


def _set_up_unregularized(config: Config) -> Setup:
    """Return a setup for learning by heart, with a train function."""
    setup = set_up(remove_regularization(config))
    start(setup)
    for layer in setup.model.layers:
        if is_dropout(layer):
            layer.rate = 0.0
    as_in_first_epoch(setup)
    return setup


def _draw_images(setup: Setup, count: int) -> Split:
    """Return training images drawn by the seed; more images include those of fewer."""
    train = setup.dataset.train
    order = generator(setup.config.seed, "doctor memorize").permutation(len(train))
    return train.subset(order[:count])


def _fit(setup: Setup, split: Split, max_steps: int) -> Learned:
    """Train on the images at the configured rate.

    Raises:
        TrainingFailed: when the loss is not finite.
    """
    batches = make_plain_batches(setup, split, setup.config.global_batch)
    learned = learn(setup.model, batches, max_steps, setup.strategy)
    if not math.isfinite(learned.loss):
        raise TrainingFailed(
            f"the loss on {len(split)} images is not finite; lower --learning-rate"
        )
    return learned
