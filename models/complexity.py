"""What a model costs: its trainable parameters, and the multiply-adds for one image."""

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from models import ZOO, build

COUNTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)


@dataclass(frozen=True)
class Description:
    """What `epochal models` says about a row of the zoo, at its native input shape."""

    name: str
    params: int  # trainable
    multiply_adds: int  # for one image
    input_shape: tuple[int, int, int]


def describe(name: str) -> Description:
    """Builds the model `name` of the zoo for its native images and measures it."""
    architecture = ZOO[name]
    with keras.StatelessScope():  # no weight gets a value: three times faster
        model = build(name, architecture.input_shape, architecture.num_classes)
    return Description(name, trainable_params(model), multiply_adds(model), architecture.input_shape)


def trainable_params(model: keras.Model) -> int:
    """Returns how many numbers training changes; batch norm's moving statistics are not among them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of all convolutions and dense layers for one image of a functional model.

    Papers often call this figure FLOPs, and like here leave out biases, normalisation, activations, pooling.

    Raises:
        ValueError: a layer holds a matrix or kernel but is of a kind that is not counted here.
    """
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: Any) -> int:
    if isinstance(layer, keras.Model):
        return multiply_adds(layer)
    kernels = [weight for weight in layer.trainable_weights if len(weight.shape) > 1]
    if not kernels:
        return 0
    if not isinstance(layer, COUNTED) or isinstance(layer, layers.Conv2DTranspose):
        raise ValueError(f"Cannot count the multiply-adds of {layer.name!r}, a {type(layer).__name__}.")
    # each position of the output meets every number of the kernels once, in grouped convolutions too
    positions = math.prod(layer.output.shape[1:-1])
    return positions * sum(math.prod(kernel.shape) for kernel in kernels)
