"""The zoo: `ZOO` lists the models by name, `build` makes one for given images and classes."""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile
from typing import Any

import keras

from epochal.models.blocks import Style
from epochal.models.layers.standardize import Standardize
from epochal.models.zoo import ZOO, Architecture

__all__ = ["ZOO", "Architecture", "build", "deep_recursion"]


def build(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Makes the model `name` of the zoo, freshly initialised, inside the scope of the strategy it trains in.

    The model takes `image`, uint8 `[N, H, W, C]` (Keras casts any other dtype to it, dropping fractions), and
    returns `logits`, float32 `[N, num_classes]` (float64 under a float64 policy).

    Args:
        input_shape: height, width and channels of the images.
        mean, deviation: of the training images, one value a channel in units of 0..255, for the first layer.
        options: `norm` and `activation` where they are not to be the network's own, see `blocks.Style`.

    Raises:
        ValueError: the name is unknown, the images are too small for it, or an argument makes no sense.
    """
    architecture = _find(name)
    _check(name, architecture, input_shape, num_classes)
    style = _styled(name, architecture, options or {})
    images = keras.Input(tuple(input_shape), dtype="uint8", name="image")
    x = Standardize(mean, deviation, name="standardize")(images)
    logits = architecture.builder(x, num_classes, style)
    with deep_recursion():
        return keras.Model(images, logits, name=name)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Lets Keras walk a graph of thousands of layers: it recurses once a layer, and Python stops at 1000."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _styled(name: str, architecture: Architecture, options: Mapping[str, Any]) -> Style:
    """The network's style with what was chosen."""
    for key, value in options.items():
        if key not in architecture.options:
            has = (
                f"only {' and '.join(architecture.options)}"
                if architecture.options
                else "no options"
            )
            raise ValueError(
                f"{name} has {has}, got {key} {value!r}; leave it out or take another model."
            )
    return replace(architecture.style, **options)


def _find(name: str) -> Architecture:
    if name in ZOO:
        return ZOO[name]
    close = difflib.get_close_matches(name.lower().replace("-", "_"), ZOO, n=5)
    # many names are equally close to a wrong number: the one that begins alike is meant
    nearest = max(close, key=lambda known: _common_start(name.lower(), known), default=None)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    raise ValueError(
        f"Unknown model {name!r}.{_depths(name)}{hint} `epochal models` lists all {len(ZOO)}."
    )


def _depths(name: str) -> str:
    """What is wrong with the depth of a ResNet for small images."""
    if not (match := re.fullmatch(r"resnet(\d+)b?", name.lower())) or int(match[1]) % 6 == 2:
        return ""
    below = max(8, int(match[1]) - (int(match[1]) - 2) % 6)
    return f" Its depth is not 6n + 2; the nearest are {below} and {below + 6}."


def _common_start(one: str, other: str) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _check(
    name: str, architecture: Architecture, input_shape: Sequence[int], num_classes: int
) -> None:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            f"input_shape must be (height, width, channels), each at least 1, got {tuple(input_shape)}."
        )
    height, width, _ = input_shape
    least = architecture.min_size
    if min(height, width) < least:
        raise ValueError(
            f"{name} needs images of at least {least}x{least} pixels, got {height}x{width}; enlarge them."
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
