"""Rate sweeps: short trainings at a range of rates, from the same weights on the same batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.errors import TrainingFailed
from epochal.app.evaluation.rate_labels import final_loss, label_rates
from epochal.app.training.probes.curvature import largest_curvature
from epochal.app.training.probes.gradient_noise import Noise, gradient_noise
from epochal.app.training.probes.probe_steps import logs_of_steps, undone
from epochal.app.training.run.callback_list import as_in_first_epoch
from epochal.app.training.run.setup import Setup, set_up, start

RATES = tuple(10.0 ** (place / 2) for place in range(-9, 3))  # 3e-5 to 10, two a decade
_NOISE_BATCHES = 16  # whose gradients are compared
_HOPELESS = 4.0  # times the loss at the start: nothing is learned any more


@dataclass(frozen=True, kw_only=True)
class Course:
    """A short training: its rate, the loss before it and after each step, and its label."""

    rate: float
    before: float
    losses: tuple[float, ...]
    label: str = ""

    @property
    def final(self) -> float:
        """The mean loss over the last quarter of the steps; infinite when it is not finite."""
        return final_loss(self.losses)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Figures before any step: the largest curvature of a batch's loss, and the gradients' noise.

    NaN and None on several devices. `batch` is the number of images in a global batch.
    """

    batch: int
    curvature: float = math.nan
    noise: Noise | None = None


def sweep(config: Config, steps: int) -> tuple[list[Course], Start]:
    """Train at each rate of `RATES`, from the same weights on the same batches; store nothing.

    Returns the courses with their labels, and what is known before any step.

    Raises:
        UsageError: as training does.
        TrainingFailed: when no rate makes the loss fall.
    """
    courses, begin = train_courses(config, steps)
    return labelled(courses), begin


def train_courses(config: Config, steps: int) -> tuple[list[Course], Start]:
    """Return the courses of a sweep without labels, and what is known before any step.

    Raises:
        UsageError: as training does.
    """
    setup = set_up(config)
    start(setup)
    as_in_first_epoch(setup)
    courses = []
    with undone(setup) as put_back:
        begin = _measure_start(setup)
        for rate in RATES:
            put_back()
            losses = tuple(_losses_at(setup, rate, steps))
            course = Course(rate=rate, before=math.nan, losses=losses)
            courses.append(course)
    return courses, begin


def _measure_start(setup: Setup) -> Start:
    """Measure what a step minimises on the first training batches; batch norm's averages move."""
    batch = setup.config.global_batch
    if setup.strategy is not None:
        return Start(batch=batch)
    model = setup.model
    # What every batch has; of larger ones the rest is left out, for the noise depends on the size.
    size = len(setup.dataset.train) // setup.batches.steps
    setup.batches.position.set(0)
    batches = setup.batches.dataset().take(_NOISE_BATCHES)
    images, labels, *_ = next(iter(batches))

    def loss() -> tf.Tensor:
        logits = model(images, training=True)
        return model.compute_loss(y=labels, y_pred=logits)

    curvature = largest_curvature(
        loss,
        model.trainable_weights,
        iterations=20,
        tolerance=0.02,
    )
    if len(setup.dataset.train) < 2 * size:
        return Start(batch=batch, curvature=curvature)
    noise = gradient_noise(
        _gradients_of_equal_batches(
            model,
            batches,
            size,
        ),
        size,
    )
    return Start(batch=batch, curvature=curvature, noise=noise)


def _gradients_of_equal_batches(model: Any, batches: Any, size: int) -> Iterator[np.ndarray]:
    """Yield the gradient of `size` images of each batch as one vector, float32 `[weights]`."""

    @tf.function
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = model.compute_loss(y=labels, y_pred=logits)
        weights = model.trainable_weights
        gradients = tape.gradient(
            loss,
            weights,
            unconnected_gradients="zero",
        )
        parts = []
        for part in gradients:
            part = tf.cast(part, tf.float32)
            parts.append(tf.reshape(part, [-1]))
        return tf.concat(parts, 0)

    for images, labels, *_ in batches:
        if len(labels) >= size:
            yield gradient(images[:size], labels[:size]).numpy()


def _losses_at(setup: Setup, rate: float, steps: int) -> Iterator[float]:
    """Yield the loss of each step at a rate, until it is hopeless."""
    first = math.nan
    setup.model.optimizer.learning_rate = rate
    for step, logs in enumerate(logs_of_steps(setup, steps)):
        loss = float(logs["loss"])
        if step == 0:
            first = loss
        yield loss
        if not loss < _HOPELESS * first:
            return


def labelled(courses: Sequence[Course]) -> list[Course]:
    """Return the courses labelled; the loss of their first step is that of the common weights.

    Raises:
        TrainingFailed: when none ends below it.
    """
    first_losses = []
    rates = []
    finals = []
    for course in courses:
        first_losses.append(course.losses[0])
        rates.append(course.rate)
        finals.append(course.final)
    before = float(np.median(first_losses))
    try:
        labels = label_rates(rates, finals, before)
    except ValueError:
        raise TrainingFailed(
            "no learning rate makes the loss fall; look at the data, or at the model with --dry-run"
        ) from None
    complete = []
    for course, label in zip(courses, labels, strict=True):
        course = replace(course, before=before, label=label)
        complete.append(course)
    return complete


def suggested(courses: Sequence[Course]) -> float:
    """Return the rate whose loss fell furthest."""
    return min(courses, key=lambda course: course.final).rate
