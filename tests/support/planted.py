"""Planted faults: models and images that are wrong, and runs that fail by them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from epochal import callbacks, models
from epochal.app.config import Config
from epochal.app.data.dataset import CachedImages, Dataset
from epochal.app.data.load import load
from epochal.app.store.run import Run
from epochal.app.training.failures.failed_step import keep_step
from epochal.app.training.run.checkpoints import Checkpoint, Checkpoints, Trigger
from epochal.app.training.run.setup import Setup, set_up
from epochal.app.training.train import fit
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.zoo import Architecture

Builder = Callable[[Any, int, Any], Any]
Loader = Callable[[Config], Dataset]


class Log(layers.Layer):
    """-inf where its input is 0."""

    def call(self, inputs: Any) -> Any:
        return ops.log(inputs)


class Sqrt(layers.Layer):
    """Finite at 0, where its gradient is not."""

    def call(self, inputs: Any) -> Any:
        return ops.sqrt(inputs)


def plant(patch: pytest.MonkeyPatch, builder: Builder) -> None:
    """Put a model called "planted" into the zoo."""
    architecture = Architecture(builder=builder, input_shape=(8, 8, 1), options=())
    patch.setitem(models.ZOO, "planted", architecture)


def log_of_zero(x: Any, classes: int, _: Any) -> Any:
    """Build a layer "planted_log" behind a ReLU, which gives zeros."""
    x = layers.Flatten()(x)
    x = layers.Dense(6, "relu", name="hidden")(x)
    x = Log(name="planted_log")(x)
    return layers.Dense(classes, name="logits")(x)


def nested_log_of_zero(x: Any, classes: int, _: Any) -> Any:
    """Build the same layer inside a sequential model inside a functional one."""
    tail_layers = [keras.Input((6,)), layers.ReLU(), Log(name="planted_log")]
    tail = keras.Sequential(tail_layers, name="tail")
    inputs = keras.Input((64,))
    hidden = layers.Dense(6, name="hidden")(inputs)
    body = keras.Model(inputs, tail(hidden), name="body")
    x = body(layers.Flatten()(x))
    return layers.Dense(classes, name="logits")(x)


def sqrt_at_zero(x: Any, classes: int, _: Any) -> Any:
    """Build two branches, one with a layer "planted_sqrt" whose input is 0 at first."""
    x = layers.Flatten()(x)
    stem = layers.Dense(4, kernel_initializer="zeros", name="stem")(x)
    root = Sqrt(name="planted_sqrt")(stem)
    side = layers.Dense(4, name="side")(stem)
    x = layers.Add()([root, side])
    return layers.Dense(classes, name="logits")(x)


def with_state(x: Any, classes: int, _: Any) -> Any:
    """Build a model with moving statistics and random numbers, which every step moves."""
    x = layers.Flatten()(x)
    x = layers.Dense(8, name="hidden")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return layers.Dense(classes, name="logits")(x)


def masked(x: Any, classes: int, _: Any) -> Any:
    """Build a model whose moving statistics tell which masks dropout drew."""
    x = layers.Flatten()(x)
    x = layers.Dense(8, name="hidden")(x)
    x = PerSampleDropout(0.5, name="dropout")(x)
    x = layers.BatchNormalization(name="norm")(x)
    return layers.Dense(classes, name="logits")(x)


def steep(x: Any, classes: int, _: Any) -> Any:
    """Build a model with logits of 0 and large gradients."""
    x = layers.Flatten()(x)
    x = layers.Rescaling(1e3)(x)
    return layers.Dense(classes, kernel_initializer="zeros", name="logits")(x)


def infinite_pixel(
    patch: pytest.MonkeyPatch, name: str, number: int, place: tuple[int, int, int]
) -> Loader:
    """Return a loader of data with an infinite pixel in an image of a split.

    Models then take float images, which unlike uint8 can hold it.
    """

    def load_infinite(config: Config) -> Dataset:
        dataset = load(config)
        split = getattr(dataset, name)
        images = split.images.tensor.numpy().astype(np.float32)
        images[(split.indices[number], *place)] = np.inf
        infinite = replace(split, images=CachedImages(tf.constant(images)))
        return replace(dataset, **{name: infinite})

    make_input = keras.Input

    def make_float_input(shape: Any, **options: Any) -> Any:
        options["dtype"] = "float32"
        return make_input(shape, **options)

    patch.setattr("epochal.models.keras.Input", make_float_input)
    return load_infinite


def train_to_failure(config: Config, folder: Path, load: Loader = load) -> tuple[Run, Setup]:
    """Train until a number is not finite, with a checkpoint of every step, and keep the step."""
    setup = set_up(config, load=load)
    run = Run(folder)
    run.write_config(config)
    run.write_data_card(setup.dataset.card(test=True))
    watching = [callbacks.NanGuard(keep_state=True)]
    saver = Checkpoints(
        run.checkpoints,
        watching,
        begin=Checkpoint(identity=setup.identity()),
        trigger=Trigger(0),
        position=setup.batches.position,
    )
    with pytest.raises(callbacks.NonFiniteError) as caught:
        fit(setup, watching, saver)
    assert keep_step(setup, run, caught.value)
    return run, setup
