"""Feature reuse: how much the layers of a dense block use what earlier layers made.

Figure 5 of Huang et al. 2016, arXiv 1608.06993.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """The reuse in one dense block.

    `means[l][s]` is the mean absolute weight with which layer `targets[l]` takes in `sources[s]`,
    None where the source comes later than the layer. The first source is the block's input, the
    last target the layer behind the block: a transition or the classifier.
    """

    sources: list[str]
    targets: list[str]
    means: list[list[float | None]]


def feature_reuse(model: keras.Model) -> list[Reuse]:
    """Return the dense blocks of a model, first to last.

    In a dense block each layer adds its channels to those of all before it.
    """
    # layers that read the same first source, with their mean absolute weights by source
    groups: dict[str, dict[str, dict[str, float]]] = {}
    for layer in model.layers:
        if not isinstance(layer, layers.Conv2D | layers.Dense):
            continue
        sources = _find_sources(layer.input)
        if len(sources) > 1:
            first_source = sources[0][0]
            groups.setdefault(first_source, {})[layer.name] = _mean_weights(layer, sources)
    blocks = []
    for weights in groups.values():
        # each layer reads one source more than the one before it, beginning with two
        counts = [len(by_source) for by_source in weights.values()]
        if len(counts) > 1 and counts == list(range(2, len(counts) + 2)):
            blocks.append(_make_reuse(weights))
    return blocks


def _make_reuse(weights: dict[str, dict[str, float]]) -> Reuse:
    targets = list(weights)
    sources = list(weights[targets[-1]])
    means = []
    for by_source in weights.values():
        means.append([by_source.get(source) for source in sources])
    return Reuse(
        sources=sources,
        targets=targets,
        means=means,
    )


def _find_sources(tensor: Any) -> list[tuple[str, int]]:
    """Return the layers that made a tensor's channels, in order, and how many each made."""
    layer = tensor._keras_history.operation
    if isinstance(layer, layers.Concatenate):
        sources = []
        for part in layer.input:
            sources.extend(_find_sources(part))
        return sources
    if _makes_channels(layer):
        return [(layer.name, tensor.shape[-1])]
    return _find_sources(layer.input)


def _makes_channels(layer: Any) -> bool:
    """Return whether a layer's channels are new ones, unlike those of a norm or a pooling."""
    if isinstance(layer, layers.InputLayer) or isinstance(layer.input, list):
        return True
    return hasattr(layer, "kernel") or layer.output.shape[-1] != layer.input.shape[-1]


def _mean_weights(layer: keras.layers.Layer, sources: list[tuple[str, int]]) -> dict[str, float]:
    """Return the mean absolute weight by source."""
    # a kernel's inputs are its last axis but one
    axes = (*range(len(layer.kernel.shape) - 2), -1)
    by_channel = ops.convert_to_numpy(ops.mean(ops.abs(layer.kernel), axes))
    means = {}
    start = 0
    for name, channels in sources:
        means[name] = float(by_channel[start : start + channels].mean())
        start += channels
    return means
