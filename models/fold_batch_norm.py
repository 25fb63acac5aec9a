"""Folding of batch norm, an affine map at inference, into the convolution before it."""

from typing import Any

import keras
import numpy as np
from keras import layers

from epochal.models.layers.convolution import Convolution
from epochal.models.rewriting import count_readers, inputs_of, rewrite

# the weight that the channels' scale multiplies, and the shape that the scale must have for that
_KERNELS = {
    layers.Conv2D: ("kernel", (1, 1, 1, -1)),
    Convolution: ("kernel", (1, 1, 1, -1)),
    layers.DepthwiseConv2D: ("kernel", (1, 1, -1, 1)),
    layers.SeparableConv2D: ("pointwise_kernel", (1, 1, 1, -1)),
    layers.Dense: ("kernel", (1, -1)),
}


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model, for inference, without batch norms behind convolutions.

    `W' = W gamma / sqrt(variance + epsilon)` and
    `b' = beta + (b - mean) gamma / sqrt(variance + epsilon)`. A batch norm stays where the tensor
    before it has other readers, or does not come from a convolution or a dense layer without an
    activation of its own. The model itself is left as it is.
    """
    plain = keras.Model(model.input, model.output, name=model.name)
    norms = _find_foldable(plain)
    replacements = {}
    for name in norms:
        layer = plain.get_layer(name)
        config = layer.get_config()
        config["use_bias"] = True
        replacements[name] = type(layer).from_config(config)
    removed = {norm.name for norm in norms.values()}
    copy = rewrite(plain, replacements=replacements, removed=removed)
    for name, norm in norms.items():
        copy.get_layer(name).set_weights(_fold_weights(plain.get_layer(name), norm))
    return copy


def _find_foldable(model: keras.Model) -> dict[str, Any]:
    """Return the batch norms that can be folded, by the names of the layers before them."""
    readers = count_readers(model)
    makers = {id(layer.output): layer for layer in model.layers if len(inputs_of(layer)) == 1}
    foldable = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization) or readers[id(norm.input)] != 1:
            continue
        maker = makers.get(id(norm.input))
        if maker is None or type(maker) not in _KERNELS:
            continue
        if maker.activation is not keras.activations.linear:
            continue
        if norm.axis in (-1, len(norm.input.shape) - 1):
            foldable[maker.name] = norm
    return foldable


def _fold_weights(layer: Any, norm: Any) -> list[np.ndarray]:
    """Return the layer's weights with the batch norm folded in, in the layer's order."""
    scale = 1 / np.sqrt(_to_float64(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * _to_float64(norm.gamma)
    bias = _to_float64(layer.bias) if layer.use_bias else 0.0
    shift = (bias - _to_float64(norm.moving_mean)) * scale
    if norm.center:
        shift = shift + _to_float64(norm.beta)
    kernel_name, scale_shape = _KERNELS[type(layer)]
    weights = []
    for weight in layer.weights:
        if weight is layer.bias:
            continue
        values = _to_float64(weight)
        if weight.name == kernel_name:
            values = values * scale.reshape(scale_shape)
        weights.append(values)
    return [*weights, shift]


def _to_float64(variable: Any) -> np.ndarray:
    return variable.numpy().astype(np.float64)
