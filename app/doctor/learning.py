"""Training on a few images until they are known by heart, and what that says about the set-up."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import TrainingBatches
from epochal.app.doctor.finding import Finding, error, ok
from epochal.app.doctor.model_copy import ready, twin
from epochal.app.doctor.sample_images import plain_batches, spread
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.classifier import Classifier

KNOWN = 1e-2  # loss at which images are known by heart
SIGMAS = 3  # standard deviations above chance that are no accident


@dataclass(frozen=True)
class Learned:
    """What the last pass over the images came to, while training."""

    steps: int
    loss: float
    accuracy: float

    @property
    def by_heart(self) -> bool:
        """Whether every image got its label."""
        return self.accuracy == 1.0


def learn(model: Classifier, batches: TrainingBatches, most: int, strategy: Any = None) -> Learned:
    """Trains until a pass over the images is without mistake at a loss below `KNOWN`, or `most` steps are done.

    The model has a train function; its optimizer keeps its rate. Every pass has the order of the first.
    """
    learned = Learned(0, math.nan, 0.0)
    passes = -(-most // batches.steps)
    for number, iterator in enumerate(_iterators(batches, passes, strategy), start=1):
        model.reset_metrics()
        for _ in range(batches.steps):
            logs = model.train_function(iterator)
        learned = Learned(number * batches.steps, float(logs["loss"]), float(logs["accuracy"]))
        if (learned.by_heart and learned.loss < KNOWN) or not math.isfinite(learned.loss):
            break
    return learned


def _iterators(batches: TrainingBatches, passes: int, strategy: Any) -> Iterator[Any]:
    """What to take each pass from: one iterator for all, for a new one takes longer than a small step."""
    dataset = batches.dataset(strategy)
    if strategy is None:
        yield from [iter(dataset.repeat(passes))] * passes
    else:  # a distributed data set cannot be repeated
        yield from (iter(dataset) for _ in range(passes))


_BATCH = 32  # images that are to be known by heart
_STEPS = 300
_RATES = (1e-3, 1e-4)  # of Adam; deep networks without normalisation need the lower one


def memorized(setup: Setup) -> Finding:
    """One batch can be learned by heart, and not without seeing it (row J1 of the lectures)."""
    split = setup.dataset.train
    split = split.subset(
        spread(split.labels, min(_BATCH, setup.config.batch_size), setup.config.seed)
    )
    for rate in _RATES:
        seen = _by_adam(setup, split, rate, _STEPS)
        if seen.by_heart:
            break
    told = f"{len(split)} images in {seen.steps} steps: accuracy {seen.accuracy:.0%}, loss {seen.loss:.2g}"
    if not seen.by_heart:
        return error(
            f"could not memorise {told}; look for labels that change, layers that pass nothing, a wrong loss"
        )
    unseen = _by_adam(setup, _blank(split), rate, seen.steps)
    if unseen.by_heart:
        return error(
            f"memorised {told}; blank images, too: the labels do not need the images; look at the labels"
        )
    return ok(f"memorised {told}; blank images: accuracy {unseen.accuracy:.0%}")


def _by_adam(setup: Setup, split: Split, rate: float, most: int) -> Learned:
    """What Adam makes of the images."""
    model = ready(twin(setup), keras.optimizers.Adam(rate))
    return learn(model, plain_batches(setup, split, len(split)), most)


def _blank(split: Split) -> Split:
    """Black images with the labels of a split."""
    images = split.read()
    return Split(CachedImages(tf.zeros_like(images)), np.arange(len(split)), split.labels)


def above_chance(chance: float, count: int) -> float:
    """The accuracy on `count` images that guessing passes once in 700 times."""
    return chance + SIGMAS * math.sqrt(chance * (1 - chance) / count)


def accuracy_of(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of images that get their label, in inference mode."""
    pieces = [
        model(images[at : at + 256], training=False).numpy().argmax(-1)
        for at in range(0, len(images), 256)
    ]
    return float(np.mean(np.concatenate(pieces) == labels))
