"""Models and images with a fault planted in them, and runs that fail by it."""

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
    """Puts a model called "planted" into the zoo."""
    patch.setitem(
        models.ZOO, "planted", Architecture(builder=builder, input_shape=(8, 8, 1), options=())
    )


def log_of_zero(x: Any, classes: int, _: Any) -> Any:
    """A layer "planted_log" behind a ReLU, which gives zeros."""
    x = layers.Dense(6, "relu", name="hidden")(layers.Flatten()(x))
    return layers.Dense(classes, name="logits")(Log(name="planted_log")(x))


def nested_log_of_zero(x: Any, classes: int, _: Any) -> Any:
    """The same layer inside a sequential model inside a functional one."""
    tail = keras.Sequential(
        [keras.Input((6,)), layers.ReLU(), Log(name="planted_log")], name="tail"
    )
    inner = keras.Input((64,))
    body = keras.Model(inner, tail(layers.Dense(6, name="hidden")(inner)), name="body")
    return layers.Dense(classes, name="logits")(body(layers.Flatten()(x)))


def sqrt_at_zero(x: Any, classes: int, _: Any) -> Any:
    """Two branches, one with a layer "planted_sqrt" whose input is 0 at first."""
    x = layers.Flatten()(x)
    stem = layers.Dense(4, kernel_initializer="zeros", name="stem")(x)
    root = Sqrt(name="planted_sqrt")(stem)
    return layers.Dense(classes, name="logits")(
        layers.Add()([root, layers.Dense(4, name="side")(stem)])
    )


def with_state(x: Any, classes: int, _: Any) -> Any:
    """Moving statistics and random numbers, which every step moves."""
    x = layers.BatchNormalization(name="norm")(layers.Dense(8, name="hidden")(layers.Flatten()(x)))
    return layers.Dense(classes, name="logits")(layers.Dropout(0.5, name="dropout")(x))


def masked(x: Any, classes: int, _: Any) -> Any:
    """Moving statistics that tell which masks dropout drew."""
    x = PerSampleDropout(0.5, name="dropout")(layers.Dense(8, name="hidden")(layers.Flatten()(x)))
    return layers.Dense(classes, name="logits")(layers.BatchNormalization(name="norm")(x))


def steep(x: Any, classes: int, _: Any) -> Any:
    """Logits of 0 with large gradients."""
    return layers.Dense(classes, kernel_initializer="zeros", name="logits")(
        layers.Rescaling(1e3)(layers.Flatten()(x))
    )


def infinite_pixel(
    patch: pytest.MonkeyPatch, name: str, number: int, place: tuple[int, int, int]
) -> Loader:
    """Return what loads data with an infinite pixel in an image of a split.

    Models then take float images, which unlike uint8 can hold it.
    """

    def planted(config: Config) -> Dataset:
        dataset = load(config)
        split = getattr(dataset, name)
        images = split.images.tensor.numpy().astype(np.float32)
        images[(split.indices[number], *place)] = np.inf
        return replace(dataset, **{name: replace(split, images=CachedImages(tf.constant(images)))})

    plain = keras.Input
    patch.setattr(
        "epochal.models.keras.Input",
        lambda shape, **options: plain(shape, **{**options, "dtype": "float32"}),
    )
    return planted


def failed(config: Config, folder: Path, load: Loader = load) -> tuple[Run, Setup]:
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
