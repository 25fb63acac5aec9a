"""How much the layers of dense blocks use what earlier layers made (Huang et al. 2016, arXiv 1608.06993, figure 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """A dense block: `means[l][s]` is the mean absolute weight with which layer `targets[l]` takes in `sources[s]`.

    None where the source comes later than the layer. The first source is the block's input, the last target the layer
    behind the block: a transition or the classifier.
    """

    sources: list[str]
    targets: list[str]
    means: list[list[float | None]]


def feature_reuse(model: keras.Model) -> list[Reuse]:
    """The dense blocks of a model, first to last: where each layer adds its channels to those of all before it."""
    blocks: dict[str, list[tuple[str, dict[str, float]]]] = {}
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D | layers.Dense):
            continue
        parts = list(_parts(layer.input))
        if len(parts) > 1:
            blocks.setdefault(parts[0][0], []).append((layer.name, _means(layer, parts)))
    return [
        _block(rows) for rows in blocks.values() if _is_dense([len(means) for _, means in rows])
    ]


def _is_dense(counts: list[int]) -> bool:
    """Whether each layer takes in one source more than the one before it, from two on: the first has no choice."""
    return len(counts) > 1 and counts == list(range(2, len(counts) + 2))


def _block(rows: list[tuple[str, dict[str, float]]]) -> Reuse:
    sources = list(rows[-1][1])
    return Reuse(
        sources=sources,
        targets=[name for name, _ in rows],
        means=[[means.get(source) for source in sources] for _, means in rows],
    )


def _parts(tensor: Any) -> Iterator[tuple[str, int]]:
    """The layers whose channels a tensor is made of, in order, and how many of each."""
    layer = tensor._keras_history.operation
    if isinstance(layer, layers.Concatenate):
        for one in layer.input:
            yield from _parts(one)
    elif _mixes(layer):
        yield layer.name, tensor.shape[-1]
    else:
        yield from _parts(layer.input)


def _mixes(layer: Any) -> bool:
    """Whether its channels are others than those it takes in, unlike those of a norm, a non-linearity, a pooling."""
    several = isinstance(layer, layers.InputLayer) or isinstance(layer.input, list)
    return several or hasattr(layer, "kernel") or layer.output.shape[-1] != layer.input.shape[-1]


def _means(layer: keras.layers.Layer, parts: list[tuple[str, int]]) -> dict[str, float]:
    """By source; a kernel's inputs are its last axis but one."""
    axes = (*range(len(layer.kernel.shape) - 2), -1)
    of_channel = ops.convert_to_numpy(ops.mean(ops.abs(layer.kernel), axes))
    ends = np.cumsum([count for _, count in parts])[:-1]
    return {
        name: float(part.mean())
        for (name, _), part in zip(parts, np.split(of_channel, ends), strict=True)
    }
