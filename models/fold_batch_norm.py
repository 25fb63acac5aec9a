"""Batch norm at inference is an affine map of each channel: it can be a part of the convolution before it."""

from typing import Any

import keras
import numpy as np
from keras import layers

from epochal.models.layers.convolution import Convolution
from epochal.models.rewriting import inputs_of, readers, rewritten

_KERNELS = {  # which weight the channels' scale multiplies, and how it must be shaped for that
    layers.Conv2D: ("kernel", (1, 1, 1, -1)),
    Convolution: ("kernel", (1, 1, 1, -1)),
    layers.DepthwiseConv2D: ("kernel", (1, 1, -1, 1)),
    layers.SeparableConv2D: ("pointwise_kernel", (1, 1, 1, -1)),
    layers.Dense: ("kernel", (1, -1)),
}


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns a copy of a functional model, for inference, without the batch norms that follow a convolution.

    `W' = W gamma / sqrt(variance + epsilon)` and `b' = beta + (b - mean) gamma / sqrt(variance + epsilon)`. A batch
    norm stays where the tensor before it has other readers, or does not come from a convolution or a dense layer
    without an activation of its own. The model itself is left as it is.
    """
    plain = keras.Model(model.input, model.output, name=model.name)
    folded = _pairs(plain)
    takers = {name: plain.get_layer(name) for name in folded}
    instead = {
        name: type(layer).from_config({**layer.get_config(), "use_bias": True})
        for name, layer in takers.items()
    }
    copy = rewritten(plain, instead=instead, gone={norm.name for norm in folded.values()})
    for name, layer in takers.items():
        copy.get_layer(name).set_weights(_folded(layer, folded[name]))
    return copy


def _pairs(model: keras.Model) -> dict[str, Any]:
    """Of every layer that a batch norm is folded into, by name, that batch norm."""
    count = readers(model)
    makers = {id(layer.output): layer for layer in model.layers if len(inputs_of(layer)) == 1}
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    pairs = [(makers.get(id(norm.input)), norm) for norm in norms if count[id(norm.input)] == 1]
    return {maker.name: norm for maker, norm in pairs if maker is not None and _takes(maker, norm)}


def _takes(maker: Any, norm: Any) -> bool:
    linear = type(maker) in _KERNELS and maker.activation is keras.activations.linear
    return linear and norm.axis in (-1, len(norm.input.shape) - 1)


def _folded(layer: Any, norm: Any) -> list[np.ndarray]:
    """The layer's weights with the batch norm's, in the layer's order."""
    scale = (
        1
        / np.sqrt(_array(norm.moving_variance) + norm.epsilon)
        * (_array(norm.gamma) if norm.scale else 1)
    )
    bias = _array(layer.bias) if layer.use_bias else 0.0
    shift = (bias - _array(norm.moving_mean)) * scale + (_array(norm.beta) if norm.center else 0)
    name, shape = _KERNELS[type(layer)]
    kernels = [w for w in layer.weights if w is not layer.bias]
    scaled = [_array(w) * (scale.reshape(shape) if w.name == name else 1) for w in kernels]
    return [*scaled, shift]


def _array(variable: Any) -> np.ndarray:
    return variable.numpy().astype(np.float64)
