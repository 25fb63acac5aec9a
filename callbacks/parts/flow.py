"""Gradient norms by layer, and which of them say that a network cannot learn: NumPy alone.

VANISHED: a layer's gradient vanishes when its root mean square is below this share of the largest of the layers above
it. Sigmoid's derivative is at most 1/4 (saturated units of any kind have less), so this is what five such layers leave
at best: `0.25**5`. Glorot and Bengio (2010, sections 3 and 4.2) compare gradients between layers in this way. The root
mean square, since the norm of a layer with more weights is larger without any of them being so. A gradient has vanished
as well when its largest entry is 0 or so small that float32 holds it with fewer digits (below 1.2e-38).

A layer's gradient explodes when it is not finite; when its root mean square exceeds that of every layer above by 1 /
VANISHED; or when a plain gradient step at the current learning rate would be as long as the weights themselves (where
about a thousandth is usual), be it only before clipping (Pascanu et al. 2013, arXiv:1211.5063).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

VANISHED = 0.25**5
_TINY = float(np.finfo(np.float32).tiny)


def by_layer(arrays: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """The paths of weights by the path of their layer, in order; layers without a kernel are left out."""
    layers: dict[str, list[str]] = {}
    for path in arrays:
        layers.setdefault(path.rpartition("/")[0], []).append(path)
    return {
        layer: paths
        for layer, paths in layers.items()
        if any(arrays[path].ndim > 1 for path in paths)
    }


def norm(arrays: Iterable[np.ndarray]) -> float:
    """Returns the Euclidean norm of all together, summed in float64."""
    return float(np.sqrt(sum(np.sum(np.square(array.astype(np.float64))) for array in arrays)))


def judged(
    gradients: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray], *, rate: float
) -> list[dict[str, Any]]:
    """Returns a row a layer, from the lowest to the topmost: layer, gradient, rms, weight, ratio, flag.

    Args:
        gradients: by path, in the order of the layers.
        weights: by path.
        rate: the learning rate.
    """
    rows: list[dict[str, Any]] = []
    above = 0.0
    for layer, paths in reversed(by_layer(gradients).items()):
        parts = [gradients[path] for path in paths]
        length = norm(parts)
        size = norm([weights[path] for path in paths])
        rms = length / sum(part.size for part in parts) ** 0.5
        gone = max(float(np.max(np.abs(part))) for part in parts) < _TINY
        flag = _flag(rms, above, gone=gone, leaps=rate * length >= size > 0)
        ratio = length / size if size else None
        rows.append(
            {
                "layer": layer,
                "gradient": length,
                "rms": rms,
                "weight": size,
                "ratio": ratio,
                "flag": flag,
            }
        )
        above = max(above, rms) if np.isfinite(rms) else above
    return rows[::-1]


def _flag(rms: float, above: float, *, gone: bool, leaps: bool) -> str | None:
    if not np.isfinite(rms) or leaps or rms * VANISHED > above > 0:
        return "exploding"
    return "vanishing" if gone or rms < VANISHED * above else None
