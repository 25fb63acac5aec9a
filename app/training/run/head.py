"""The logits ahead of the network: trained on features of the images that are computed once."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.config import Config, Emphasis, Schedule, Stopping
from epochal.app.data.augment.augmentation import Augmentation
from epochal.app.data.dataset import CachedImages, Split
from epochal.app.data.pipeline import Position, TrainingBatches, evaluation_batches
from epochal.app.errors import TrainingFailed
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.process.log import RUN_LOG
from epochal.app.training.optimizers import make_optimizer, weight_penalty
from epochal.app.training.run.devices import scope
from epochal.app.training.run.setup import Setup, make_clipper, reset_optimizer
from epochal.app.training.step.classifier import Classifier
from epochal.app.training.step.learning_rate import rate_callbacks
from epochal.app.training.step.objective import Objective
from epochal.app.units import time_of
from epochal.models.layers.dropout import PerSampleDropout


class _Unchanged(Augmentation):
    """No augmentation: features are what they are."""

    def __call__(self, images: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
        """Return the images."""
        return images


class _Course(keras.callbacks.Callback):
    """Moves the data to each epoch, and ends training where the user asks for it."""

    def __init__(self, position: Position, stopping: Callable[[], bool]) -> None:
        super().__init__()
        self._position = position
        self._stopping = stopping

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._position.set(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._stopping():
            raise KeyboardInterrupt


def train_head(setup: Setup, stopping: Callable[[], bool]) -> None:
    """Train the logits, and nothing else, for `optim.head_epochs`; they learn as in a whole run.

    The network is in inference mode and sees training images as evaluation does. Order and size of
    batches, loss, optimizer, learning rate (down a cosine) and dropout before the logits are the
    run's own, and so is the outcome that of a training with everything else frozen.

    Args:
        setup: of the run; its model's logits are replaced.
        stopping: tells whether the user asked to stop.

    Raises:
        KeyboardInterrupt: the user did.
        TrainingFailed: the weights left the finite numbers.
    """
    begun = time.monotonic()
    body, head = _divide(setup.model)
    train = _features(body, setup, setup.dataset.train, stopping)
    validation = _features(body, setup, setup.dataset.validation, stopping)
    computed = time.monotonic()
    config = _config_of_head(setup.config)
    batches = TrainingBatches(
        split=train,
        batch_size=config.global_batch,
        augmentation=_Unchanged(stored_size=1, image_size=1),
        seed=config.seed,
        position=Position(),
        equal=config.data.batches == "equal",
    )
    classifier = _compile(head, config, setup, batches)
    classifier.fit(
        batches.dataset(),
        epochs=config.epochs,
        callbacks=[
            *rate_callbacks(config, batches.steps),
            _Course(batches.position, stopping),
        ],
        shuffle=False,
        verbose=0,
    )
    values = head.get_layer("logits").get_weights()
    if not all(np.isfinite(value).all() for value in values):
        raise TrainingFailed(
            "training the logits alone left the finite numbers; start again with a lower "
            "--learning-rate"
        )
    with scope(setup.strategy):
        setup.model.get_layer("logits").set_weights(values)
        reset_optimizer(setup.model)
    answers = head.predict(validation.read(), verbose=0).argmax(axis=-1)
    accuracy = float(np.mean(answers == validation.labels))
    RUN_LOG.info(
        f"head: {len(train) + len(validation):,} images' features in {time_of(computed - begun)}, "
        f"{config.epochs} epochs of the logits alone in {time_of(time.monotonic() - computed)}: "
        f"validation accuracy {accuracy:.4f}"
    )


def _divide(model: Any) -> tuple[Any, Any]:
    """Return the network up to its features, and a copy of the logits and of the dropout there."""
    layers: list[Any] = []
    tensor = model.output
    while True:
        layer = tensor._keras_history.operation
        is_dropout = isinstance(layer, keras.layers.Dropout | PerSampleDropout)
        if layer.name != "logits" and not is_dropout:
            break
        layers.insert(0, layer)
        tensor = layer.input
    body = keras.Model(model.input, tensor)
    features = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name="features")
    x = features
    for layer in layers:
        copy = type(layer).from_config(layer.get_config())
        x = copy(x)
        for variable, value in zip(copy.variables, layer.variables, strict=True):
            variable.assign(value)
    return body, keras.Model(features, x, name=model.name)


def _features(body: Any, setup: Setup, split: Split, stopping: Callable[[], bool]) -> Split:
    """Return the split with features in place of images."""
    parts = []
    for images, _ in evaluation_batches(split, setup.dataset.preprocessing):
        if stopping():
            raise KeyboardInterrupt
        parts.append(body.predict_on_batch(images))
    with tf.device("CPU:0"):
        features = CachedImages(tf.constant(np.concatenate(parts)))
    return Split(features, np.arange(len(split)), split.labels)


def _config_of_head(config: Config) -> Config:
    """Return the configuration without what concerns other weights or later epochs."""
    optim = replace(
        config.optim,
        decays=None,
        rates=None,
        rate_growth=1.0,
        frozen=None,
        unfreeze_every=None,
        micro_batches=1,
    )
    return replace(
        config,
        epochs=config.optim.head_epochs,
        budget=None,
        devices=1,
        optim=optim,
        schedule=Schedule(shape="cosine", batch=config.schedule.batch),
        stopping=Stopping(),
        emphasis=Emphasis(),
    )


def _compile(head: Any, config: Config, setup: Setup, batches: TrainingBatches) -> Classifier:
    objective = Objective.from_config(
        config.objective,
        setup.dataset.preprocessing.classes,
        setup.dataset.train.labels,
        penalty=weight_penalty(config),
        full_batch=batches.largest if batches.equal else None,
    )
    clipper = make_clipper(config.optim)
    clipper.build(tf.distribute.get_strategy())
    with dtype_policy(config.precision):
        classifier = Classifier(head, objective=objective, gradient_transforms=[clipper])
        optimizer = make_optimizer(config, head)
        optimizer.build(head.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        classifier.compile(optimizer=optimizer, loss=loss)
        classifier.optimizer.build(head.trainable_variables)
    return classifier
