"""Inverted residuals a few channels at a time: the wide tensor between their thin ends is never whole in memory."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import layers

from epochal.models.layers.sequential_sum import SumInTurn
from epochal.models.rewriting import readers, rewritten

_BY_CHANNEL = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.ZeroPadding2D)


def chunk_expansions(model: keras.Model, chunks: int) -> keras.Model:
    """Returns a copy of a functional model, for inference, whose expansions are computed in so many parts.

    An inverted residual (1x1 convolution to many channels, depthwise convolution, 1x1 convolution to few) treats the
    channels between its ends each by itself, so its output is a sum over groups of them (Sandler et al. 2018, arXiv
    1801.04381, section 5.1). Batch norms must have been folded (`fold_batch_norm`). What is read elsewhere, and
    everything that is no such block, stays as it is; the model itself, too.

    Raises:
        ValueError: fewer than 2 chunks.
    """
    if chunks < 2:
        raise ValueError(f"chunks must be at least 2, got {chunks}.")
    plain = keras.Model(model.input, model.output, name=model.name)
    blocks = list(_blocks(plain))
    instead = {
        block[-1].name: SumInTurn(list(_terms(block, chunks)), name=block[-1].name)
        for block in blocks
    }
    return rewritten(
        plain, instead=instead, gone={layer.name for block in blocks for layer in block[:-1]}
    )


def _blocks(model: keras.Model) -> Iterator[list[Any]]:
    """The layers of each inverted residual, from the convolution that widens to the one that narrows."""
    makers = {id(layer.output): layer for layer in model.layers}
    count = readers(model)

    def above(layer: Any) -> list[Any]:
        """Back to the next layer with weights, as long as nobody else reads what is between."""
        found: list[Any] = []
        while count[id(layer.input)] == 1:
            layer = makers[id(layer.input)]
            found.insert(0, layer)
            if not isinstance(layer, _BY_CHANNEL):
                break
        return found

    for project in filter(_is_linear, filter(_is_pointwise, model.layers)):
        inner = above(project)
        outer = above(inner[0]) if inner and _is_depthwise(inner[0]) else []
        if (
            outer
            and _is_pointwise(outer[0])
            and outer[0].filters > max(outer[0].input.shape[-1], project.filters)
        ):
            yield [*outer, *inner, project]


def _is_pointwise(layer: Any) -> bool:
    return (
        isinstance(layer, layers.Conv2D)
        and layer.groups == 1
        and layer.kernel_size == layer.strides == (1, 1)
    )


def _is_linear(layer: Any) -> bool:
    return layer.activation is keras.activations.linear


def _is_depthwise(layer: Any) -> bool:
    return isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier == 1


def _terms(block: list[Any], chunks: int) -> Iterator[keras.Model]:
    """The block for each group of channels between its ends; the first one has the last convolution's bias."""
    expand = block[0]
    project = block[-1]
    ends = np.linspace(0, expand.filters, min(chunks, expand.filters) + 1).astype(int)
    for number, (first, end) in enumerate(pairwise(ends)):
        x = image = keras.Input(expand.input.shape[1:], dtype=expand.input.dtype)
        made = []
        for layer in block:
            changed = {"filters": int(end - first)} if layer is expand else {}
            changed |= {"use_bias": layer.use_bias and number == 0} if layer is project else {}
            made.append(type(layer).from_config({**layer.get_config(), **changed}))
            x = made[-1](x)
        for layer, source in zip(made, block, strict=True):
            layer.set_weights(
                _part(source, slice(first, end), last=source is project)[: len(layer.weights)]
            )
        yield keras.Model(image, x, name=f"{project.name}_{number}")


def _part(layer: Any, channels: slice, *, last: bool) -> list[np.ndarray]:
    """The layer's weights for these channels, which go into the last convolution and come out of the others."""
    if not layer.weights:
        return []
    kernel, *bias = layer.get_weights()
    if isinstance(layer, layers.Conv2D) and not last:
        return [kernel[..., channels], *(values[channels] for values in bias)]
    return [kernel[:, :, channels], *(values if last else values[channels] for values in bias)]
