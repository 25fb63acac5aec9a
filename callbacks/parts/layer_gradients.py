"""Gradient norms by layer, and those that say that a network cannot learn: NumPy alone.

VANISHED: a layer's gradient vanishes when its root mean square is below this share of the largest
of the layers above it. Sigmoid's derivative is at most 1/4 (saturated units of any kind have less),
so this is what five such layers leave at best: `0.25**5`. Glorot and Bengio (2010, sections 3 and
4.2) compare gradients between layers in this way. The root mean square, since the norm of a layer
with more weights is larger without any of them being so. A gradient has vanished as well when its
largest entry is 0 or so small that float32 holds it with fewer digits (below 1.2e-38).

A layer's gradient explodes when it is not finite; when its root mean square exceeds that of every
layer above by 1 / VANISHED; or when a plain gradient step at the current learning rate would be as
long as the weights themselves (where about a thousandth is usual), be it only before clipping
(Pascanu et al. 2013, arXiv:1211.5063).
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

VANISHED = 0.25**5
_TINY = float(np.finfo(np.float32).tiny)


def paths_by_layer(arrays: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Return the paths of weights by the path of their layer; layers without a kernel are out."""
    layers: dict[str, list[str]] = {}
    with_kernel = set()
    for path, array in arrays.items():
        layer, _, _ = path.rpartition("/")
        layers.setdefault(layer, []).append(path)
        if array.ndim > 1:
            with_kernel.add(layer)
    for layer in list(layers):
        if layer not in with_kernel:
            del layers[layer]
    return layers


def norm(arrays: Iterable[np.ndarray]) -> float:
    """Return the Euclidean norm of all arrays together, summed in float64."""
    total = 0.0
    for array in arrays:
        squares = np.square(array.astype(np.float64))
        total += float(np.sum(squares))
    return math.sqrt(total)


def relative_changes(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Return the norm of the change of each layer over its norm before; weights are given by path.

    Layers of norm 0 are left out.
    """
    changes = {}
    for layer, paths in paths_by_layer(before).items():
        weights = []
        updates = []
        for path in paths:
            weights.append(before[path])
            updates.append(after[path] - before[path])
        length = norm(weights)
        if length:
            changes[layer] = norm(updates) / length
    return changes


def describe_layers(
    gradients: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], *, rate: float
) -> list[dict[str, Any]]:
    """Return a row a layer, the lowest first: layer, gradient, rms, weight, ratio, flag.

    Args:
        gradients: by path, in the order of the layers.
        weights: by path.
        rate: the learning rate.
    """
    rows: list[dict[str, Any]] = []
    above = 0.0  # the largest root mean square of the layers above
    for layer, paths in reversed(paths_by_layer(gradients).items()):
        parts = [gradients[path] for path in paths]
        length = norm(parts)
        weight = norm([weights[path] for path in paths])
        entries = np.concatenate([part.ravel() for part in parts])
        rms = length / entries.size**0.5
        largest = float(np.max(np.abs(entries)))
        is_leap = rate * length >= weight > 0
        ratio = None
        if weight:
            ratio = length / weight
        flag = None
        if not np.isfinite(rms) or is_leap or rms * VANISHED > above > 0:
            flag = "exploding"
        elif largest < _TINY or rms < VANISHED * above:
            flag = "vanishing"
        rows.append(
            {
                "layer": layer,
                "gradient": length,
                "rms": rms,
                "weight": weight,
                "ratio": ratio,
                "flag": flag,
            }
        )
        if np.isfinite(rms):
            above = max(above, rms)
    return rows[::-1]
