"""Memorisation: training on a few images until they are known by heart."""

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
from epochal.app.doctor.model_copy import compile_copy, copy_model
from epochal.app.doctor.sample_images import draw_balanced, make_plain_batches
from epochal.app.training.run.setup import Setup
from epochal.app.training.step.classifier import Classifier

SIGMAS = 3  # standard deviations above chance that are no accident
_MEMORISED_LOSS = 1e-2
_IMAGES = 32
_MAX_STEPS = 300
# Of Adam; deep networks without normalisation need the lower one.
_RATES = (1e-3, 1e-4)
_EVALUATED_TOGETHER = 256  # images


@dataclass(frozen=True)
class Learned:
    """Loss and accuracy of the last pass over the images, as training logs them."""

    steps: int
    loss: float
    accuracy: float

    @property
    def by_heart(self) -> bool:
        """Tell whether every image got its label."""
        return self.accuracy == 1.0


def learn(
    model: Classifier, batches: TrainingBatches, max_steps: int, strategy: Any = None
) -> Learned:
    """Train until a pass over the images is without mistake at a loss below 0.01.

    Every pass has the order of the first.

    Args:
        model: with a train function; its optimizer keeps its rate
        batches: of the images
        max_steps: after which training ends anyway, rounded up to whole passes
        strategy: that distributes training, if any
    """
    learned = Learned(0, math.nan, 0.0)
    passes = math.ceil(max_steps / batches.steps)
    for number, iterator in enumerate(
        _make_iterators(
            batches,
            passes,
            strategy,
        ),
        start=1,
    ):
        model.reset_metrics()
        for _ in range(batches.steps):
            logs = model.train_function(iterator)
        loss = float(logs["loss"])
        accuracy = float(logs["accuracy"])
        learned = Learned(number * batches.steps, loss, accuracy)
        if learned.by_heart and loss < _MEMORISED_LOSS:
            break
        if not math.isfinite(loss):
            break
    return learned


def _make_iterators(batches: TrainingBatches, passes: int, strategy: Any) -> Iterator[Any]:
    """Yield the iterator of each pass."""
    dataset = batches.dataset(strategy)
    if strategy is None:
        # One iterator serves all passes: to make one takes longer than a small step.
        iterator = iter(dataset.repeat(passes))
        for _ in range(passes):
            yield iterator
    else:
        # A distributed data set cannot be repeated.
        for _ in range(passes):
            yield iter(dataset)


def check_memorisation(setup: Setup, max_steps: int = _MAX_STEPS) -> Finding:
    """Check that one batch can be learned by heart, and cannot be without seeing its images.

    Args:
        setup: to be trained
        max_steps: at each of two rates
    """
    train = setup.dataset.train
    count = min(_IMAGES, setup.config.global_batch)
    positions = draw_balanced(train.labels, count, setup.config.seed)
    split = train.subset(positions)
    for rate in _RATES:
        learned = _learn_by_adam(setup, split, rate, max_steps)
        if learned.by_heart:
            break
    text = (
        f"{len(split)} images in {learned.steps} steps: "
        f"accuracy {learned.accuracy:.0%}, loss {learned.loss:.2g}"
    )
    if not learned.by_heart:
        return error(
            f"could not memorise {text}; "
            "look for labels that change, layers that pass nothing, a wrong loss"
        )
    black = tf.zeros_like(split.read())
    blank = Split(
        CachedImages(black),
        np.arange(len(split)),
        split.labels,
    )
    learned_blank = _learn_by_adam(setup, blank, rate, learned.steps)
    if learned_blank.by_heart:
        return error(
            f"memorised {text}; blank images, too: the labels do not need the images; "
            "look at the labels"
        )
    return ok(f"memorised {text}; blank images: accuracy {learned_blank.accuracy:.0%}")


def _learn_by_adam(setup: Setup, split: Split, rate: float, max_steps: int) -> Learned:
    model = compile_copy(copy_model(setup), keras.optimizers.Adam(rate))
    return learn(
        model,
        make_plain_batches(
            setup,
            split,
            len(split),
        ),
        max_steps,
    )


def chance_bound(chance: float, count: int) -> float:
    """Return the accuracy on `count` images that guessing exceeds once in 700 times."""
    deviation = math.sqrt(chance * (1 - chance) / count)
    return chance + SIGMAS * deviation


def measure_accuracy(model: Any, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images that get their label, in inference mode."""
    num_right = 0
    for start in range(0, len(images), _EVALUATED_TOGETHER):
        end = start + _EVALUATED_TOGETHER
        logits = model(images[start:end], training=False).numpy()
        right = logits.argmax(-1) == labels[start:end]
        num_right += int(right.sum())
    return num_right / len(images)
