"""Inverted residuals a few channels at a time: the wide tensor is never whole in memory."""

from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import layers

from epochal.models.layers.sequential_sum import SumInTurn
from epochal.models.rewriting import count_readers, rewrite

# layers without weights that treat each channel by itself
_BY_CHANNEL = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ZeroPadding2D)


def chunk_expansions(model: keras.Model, chunks: int) -> keras.Model:
    """Return a copy of a functional model, for inference, with its expansions in so many parts.

    An inverted residual (1x1 convolution to many channels, depthwise convolution, 1x1 convolution
    to few) treats the channels between its ends each by itself, so its output is a sum over groups
    of them (Sandler et al. 2018, arXiv 1801.04381, section 5.1). Batch norms must have been folded
    (`fold_batch_norm`). A tensor that another layer reads, too, and everything that is no such
    block stays as it is, and so does the model itself.

    Raises:
        ValueError: fewer than 2 chunks.
    """
    if chunks < 2:
        raise ValueError(f"chunks must be at least 2, got {chunks}.")
    plain = keras.Model(model.input, model.output, name=model.name)
    replacements = {}
    removed = set[str]()
    for block in _find_blocks(plain):
        last = block[-1].name
        replacements[last] = SumInTurn(_split_block(block, chunks), name=last)
        removed.update(layer.name for layer in block[:-1])
    return rewrite(plain, replacements=replacements, removed=removed)


def _find_blocks(model: keras.Model) -> list[list[Any]]:
    """Return the layers of each inverted residual, from its widening to its narrowing end."""
    makers = {id(layer.output): layer for layer in model.layers}
    readers = count_readers(model)

    def layers_before(layer: Any) -> list[Any]:
        """Go back to the next layer with weights, as long as nobody else reads what is between."""
        path: list[Any] = []
        while readers[id(layer.input)] == 1:
            layer = makers[id(layer.input)]
            path.insert(0, layer)
            if not isinstance(layer, _BY_CHANNEL):
                break
        return path

    blocks = []
    for project in model.layers:
        if not _is_pointwise(project) or project.activation is not keras.activations.linear:
            continue
        inner = layers_before(project)
        if not inner or not _is_depthwise(inner[0]):
            continue
        outer = layers_before(inner[0])
        if not outer or not _is_pointwise(outer[0]):
            continue
        expand = outer[0]
        if expand.filters > max(expand.input.shape[-1], project.filters):
            blocks.append([*outer, *inner, project])
    return blocks


def _is_pointwise(layer: Any) -> bool:
    if not isinstance(layer, layers.Conv2D) or layer.groups != 1:
        return False
    return layer.kernel_size == (1, 1) and layer.strides == (1, 1)


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier == 1


def _split_block(block: list[Any], chunks: int) -> list[keras.Model]:
    """Return the block for each group of channels between its ends.

    Only the first one has the last convolution's bias, which must be added once.
    """
    filters = block[0].filters
    ends = np.linspace(0, filters, min(chunks, filters) + 1).astype(int)
    terms: list[keras.Model] = []
    for start, end in pairwise(ends.tolist()):
        name = f"{block[-1].name}_{len(terms)}"
        is_first = start == 0
        terms.append(
            _copy_for_channels(
                block,
                slice(start, end),
                is_first,
                name,
            )
        )
    return terms


def _copy_for_channels(
    block: list[Any], channels: slice, with_bias: bool, name: str
) -> keras.Model:
    expand = block[0]
    project = block[-1]
    image = keras.Input(expand.input.shape[1:], dtype=expand.input.dtype)
    x = image
    for layer in block:
        config = layer.get_config()
        if layer is expand:
            config["filters"] = channels.stop - channels.start
        if layer is project:
            config["use_bias"] = layer.use_bias and with_bias
        copy = type(layer).from_config(config)
        x = copy(x)
        if copy.weights:
            weights = _weights_for_channels(
                layer,
                channels,
                is_last=layer is project,
            )
            copy.set_weights(weights[: len(copy.weights)])
    return keras.Model(image, x, name=name)


def _weights_for_channels(layer: Any, channels: slice, *, is_last: bool) -> list[np.ndarray]:
    """Return the layer's weights for these channels.

    They go into the last convolution and come out of the others.
    """
    kernel, *biases = layer.get_weights()
    if is_last:
        return [kernel[:, :, channels], *biases]
    biases = [bias[channels] for bias in biases]
    if isinstance(layer, layers.Conv2D):
        return [kernel[..., channels], *biases]
    return [kernel[:, :, channels], *biases]
