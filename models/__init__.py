"""The zoo: `ZOO` lists the models by name, `build` makes one for given images and classes."""

import difflib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras

from epochal.models.blocks import Style
from epochal.models.layers.standardize import Standardize
from epochal.models.linear import softmax_regression
from epochal.models.mlp import mlp
from epochal.models.zoo import ZOO, Architecture

__all__ = [
    "ZOO",
    "Architecture",
    "build",
    "build_behind",
    "check_options",
    "deep_recursion",
    "reads_features",
]


def build(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Return the model `name` of the zoo, freshly initialised.

    Call it in the scope of the strategy that the model trains in.

    The model takes `image`, uint8 `[N, H, W, C]` (Keras casts any other dtype to it, dropping
    fractions), and returns `logits`, float32 `[N, num_classes]` (float64 under a float64 policy).

    Args:
        input_shape: height, width and channels of the images.
        mean, deviation: of the training images, one value a channel in units of 0..255, for the
            first layer.
        options: `norm`, `activation` and rates of dropout where they shall differ from the
            network's own, see `blocks.Style`.

    Raises:
        ValueError: the name is unknown, the images are too small for it, an argument makes no
            sense, or Keras is set to channels_first.
    """
    return build_behind(
        Standardize(mean, deviation, name="standardize"),
        name,
        input_shape,
        num_classes,
        options=options,
    )


def build_behind(
    first: keras.layers.Layer,
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    options: Mapping[str, Any] | None = None,
) -> keras.Model:
    """Return the model `name` of the zoo behind another first layer than `Standardize`.

    Args:
        first: takes the images, such as `layers.normalize.Normalize`.
        name, input_shape, num_classes, options: as `build` has them.

    Raises:
        ValueError: as `build` does.
    """
    data_format = keras.config.image_data_format()
    if data_format != "channels_last":
        raise ValueError(
            f"models are built for channels_last, and Keras is set to {data_format}; call "
            "keras.config.set_image_data_format('channels_last') before"
        )
    architecture = _find_architecture(name)
    _check_sizes(
        name,
        architecture,
        input_shape,
        num_classes,
    )
    style = _choose_style(name, architecture, options or {})
    images = keras.Input(tuple(input_shape), dtype="uint8", name="image")
    logits = architecture.builder(first(images), num_classes, style)
    with deep_recursion():
        return keras.Model(images, logits, name=name)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what `build` would refuse of a name and its options, without building anything.

    Raises:
        ValueError: the name is unknown, or the network has no such option or value of it.
    """
    _choose_style(name, _find_architecture(name), options)


def reads_features(name: str) -> bool:
    """Tell whether a model of the zoo knows of no neighbours among its inputs.

    Raises:
        ValueError: the name is unknown.
    """
    builder: Any = _find_architecture(name).builder
    return getattr(builder, "func", builder) in (mlp, softmax_regression)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Raise Python's limit of 1000 nested calls: Keras recurses once for every layer of a graph."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _choose_style(name: str, architecture: Architecture, options: Mapping[str, Any]) -> Style:
    """Return the network's style with the options that the caller chose."""
    for key, value in options.items():
        if key in architecture.options:
            continue
        available = "no options"
        if architecture.options:
            available = f"only {', '.join(architecture.options)}"
        raise ValueError(
            f"{name} has {available}, got {key} {value!r}; leave it out or take another model."
        )
    return replace(architecture.style, **options)


def _find_architecture(name: str) -> Architecture:
    if name in ZOO:
        return ZOO[name]
    message = f"Unknown model {name[:60]!r}."
    message += _explain_depth(name)
    similar = difflib.get_close_matches(
        name.lower().replace("-", "_"),
        ZOO,
        n=5,
    )
    if similar:
        # many names are equally close to a wrong number: the one that begins alike is meant
        nearest = max(similar, key=lambda known: _common_start(name.lower(), known))
        message += f" Did you mean {nearest!r}?"
    raise ValueError(f"{message} `epochal models` lists all {len(ZOO)}.")


def _explain_depth(name: str) -> str:
    """Say which depths a ResNet for small images can have, if `name` asks for another."""
    match = re.fullmatch(r"resnet(\d+)b?", name.lower())
    if match is None:
        return ""
    depth = int(match[1])
    excess = (depth - 2) % 6
    if excess == 0:
        return ""
    below = max(8, depth - excess)
    return f" Its depth is not 6n + 2; the nearest are {below} and {below + 6}."


def _common_start(name: str, known: str) -> int:
    """Return how many letters the two names have in common at their beginning."""
    length = 0
    for letter, known_letter in zip(name, known, strict=False):
        if letter != known_letter:
            break
        length += 1
    return length


def _check_sizes(
    name: str, architecture: Architecture, input_shape: Sequence[int], num_classes: int
) -> None:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(
            "input_shape must be (height, width, channels), each at least 1, "
            f"got {tuple(input_shape)}."
        )
    height, width, _ = input_shape
    least = architecture.min_size
    if min(height, width) < least:
        raise ValueError(
            f"{name} needs images of at least {least}x{least} pixels, got {height}x{width}; "
            "enlarge them."
        )
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
