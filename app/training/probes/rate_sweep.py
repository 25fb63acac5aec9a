"""Short trainings at a range of learning rates, each from the same weights, and what they say about the rates."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from epochal.app.config import Config
from epochal.app.errors import TrainingFailed
from epochal.app.evaluation.rate_labels import final, labels_of
from epochal.app.training.probes.curvature import largest_curvature
from epochal.app.training.probes.gradient_noise import Noise, gradient_noise
from epochal.app.training.probes.probe_steps import steps_of, undone
from epochal.app.training.run.run_callbacks import as_in_first_epoch
from epochal.app.training.run.setup import Setup, set_up, start

RATES = tuple(10.0 ** (place / 2) for place in range(-9, 3))  # 3e-5 to 10, two a decade
_BATCHES = 16  # whose gradients are compared
_HOPELESS = 4.0  # times the loss at the start: nothing is learned any more


@dataclass(frozen=True, kw_only=True)
class Course:
    """A short training: its rate, the loss before it and after each step, and what to call it."""

    rate: float
    before: float
    losses: tuple[float, ...]
    label: str = ""

    @property
    def final(self) -> float:
        """The mean loss over the last quarter of the steps; infinite when it went astray."""
        return final(self.losses)


@dataclass(frozen=True, kw_only=True)
class Start:
    """Before any step: the largest curvature of a training batch's loss, and how noisy gradients are.

    NaN and None on several devices.
    """

    curvature: float = math.nan
    noise: Noise | None = None


def sweep(config: Config, steps: int) -> tuple[list[Course], Start]:
    """Trains so many steps at each rate of `RATES`, all from the same weights on the same batches; stores nothing.

    Returns the courses, and what is known before any step.

    Raises:
        UsageError: as training does.
        TrainingFailed: when no rate makes the loss fall.
    """
    setup = set_up(config)
    start(setup)
    as_in_first_epoch(setup)
    with undone(setup) as put_back:
        begun = _start(setup)
        courses = []
        for rate in RATES:
            put_back()
            courses.append(
                Course(rate=rate, before=math.nan, losses=tuple(_losses(setup, rate, steps)))
            )
    return labelled(courses), begun


def _start(setup: Setup) -> Start:
    """Of what a step minimises, on the first training batches; batch norm's averages move."""
    if setup.strategy is not None:
        return Start()
    model = setup.model
    size = setup.config.batch_size
    setup.batches.position.set(0)
    batches = setup.batches.dataset().take(_BATCHES)

    def loss(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return model.compute_loss(y=labels, y_pred=model(images, training=True))

    @tf.function
    def gradient(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(images, labels)
        found = tape.gradient(value, model.trainable_weights, unconnected_gradients="zero")
        return tf.concat([tf.reshape(tf.cast(one, tf.float32), [-1]) for one in found], 0)

    images, labels, *_ = next(iter(batches))
    curvature = largest_curvature(
        lambda: loss(images, labels), model.trainable_weights, iterations=20, tolerance=0.02
    )
    if len(setup.dataset.train) < 2 * size:
        return Start(curvature=curvature)
    whole = (
        gradient(images, labels).numpy() for images, labels, *_ in batches if len(labels) == size
    )
    return Start(curvature=curvature, noise=gradient_noise(whole, size))


def _losses(setup: Setup, rate: float, steps: int) -> Iterator[float]:
    """The loss of each step at this rate, until it is hopeless."""
    first = math.nan
    setup.model.optimizer.learning_rate = rate
    for step, logs in enumerate(steps_of(setup, steps)):
        loss = float(logs["loss"])
        first = first if step else loss
        yield loss
        if not loss < _HOPELESS * first:
            return


def labelled(courses: Sequence[Course]) -> list[Course]:
    """The courses with what `labels_of` calls them; the loss of the first step is that of the common weights.

    Raises:
        TrainingFailed: when none ends below it.
    """
    before = float(np.median([course.losses[0] for course in courses]))
    try:
        found = labels_of(
            [course.rate for course in courses], [course.final for course in courses], before
        )
    except ValueError:
        raise TrainingFailed(
            "no learning rate makes the loss fall; look at the data, or at the model with --dry-run"
        ) from None
    return [
        replace(one, before=before, label=label) for one, label in zip(courses, found, strict=True)
    ]


def suggested(courses: Sequence[Course]) -> float:
    """The rate whose loss fell furthest."""
    return min(courses, key=lambda course: course.final).rate
