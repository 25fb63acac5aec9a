"""The zoo: `ZOO` lists the models by name, `build` makes one for given images and classes."""

import difflib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

import keras

from models.layers.standardize import Standardize
from models.lenet import lenet5
from models.linear import softmax_regression
from models.mlp import mlp
from models.resnet_cifar import resnet_cifar


@dataclass(frozen=True)
class Architecture:
    """A row of the zoo."""

    builder: Callable[[keras.KerasTensor, int], keras.KerasTensor]  # standardised images, classes -> logits
    input_shape: tuple[int, int, int]  # height, width, channels that its published figures refer to
    num_classes: int = 10  # likewise
    min_size: int = 1  # least height and width in pixels that it makes sense of


MNIST, CIFAR = (28, 28, 1), (32, 32, 3)


def _resnet(depth: int, shortcut: str = "A") -> Architecture:
    return Architecture(partial(resnet_cifar, depth=depth, shortcut=shortcut), CIFAR, min_size=8)


ZOO: dict[str, Architecture] = {
    "softmax": Architecture(softmax_regression, MNIST),
    "mlp": Architecture(partial(mlp, hidden=(256, 128), dropout=0.2), MNIST),
    "lenet5": Architecture(lenet5, MNIST),
    "resnet8": _resnet(8),
    "resnet14": _resnet(14),
    "resnet20": _resnet(20),
    "resnet32": _resnet(32),
    "resnet44": _resnet(44),
    "resnet56": _resnet(56),
    "resnet110": _resnet(110),
    "resnet1202": _resnet(1202),
    "resnet20b": _resnet(20, "B"),
    "resnet32b": _resnet(32, "B"),
    "resnet44b": _resnet(44, "B"),
    "resnet56b": _resnet(56, "B"),
    "resnet110b": _resnet(110, "B"),
}


def build(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
) -> keras.Model:
    """Makes the model `name` of the zoo, freshly initialised, inside the scope of the strategy it trains in.

    The model takes `image`, uint8 `[N, H, W, C]` (Keras casts any other dtype to it, dropping fractions), and
    returns `logits`, float32 `[N, num_classes]` (float64 under a float64 policy).

    Args:
        input_shape: height, width and channels of the images.
        mean, deviation: of the training images, one value a channel in units of 0..255, for the first layer.

    Raises:
        ValueError: the name is unknown, the images are too small for it, or an argument makes no sense.
    """
    architecture = _find(name)
    _check(name, architecture, input_shape, num_classes)
    images = keras.Input(tuple(input_shape), dtype="uint8", name="image")
    x = Standardize(mean, deviation, name="standardize")(images)
    logits = architecture.builder(x, num_classes)
    with _deep_recursion():
        return keras.Model(images, logits, name=name)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Lets Keras walk a graph of thousands of layers: it recurses once a layer, and Python stops at 1000."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _find(name: str) -> Architecture:
    if name in ZOO:
        return ZOO[name]
    close = difflib.get_close_matches(name.lower(), ZOO, n=5)
    # many names are equally close to a wrong number: the one that begins alike is meant
    nearest = max(close, key=lambda known: _common_start(name.lower(), known), default=None)
    hint = f" Did you mean {nearest!r}?" if nearest else ""
    raise ValueError(f"Unknown model {name!r}.{hint} Known: {', '.join(ZOO)}.")


def _common_start(one: str, other: str) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def _check(name: str, architecture: Architecture, input_shape: Sequence[int], num_classes: int) -> None:
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ValueError(f"input_shape must be (height, width, channels), each at least 1, got {tuple(input_shape)}.")
    height, width, _ = input_shape
    least = architecture.min_size
    if min(height, width) < least:
        raise ValueError(f"{name} needs images of at least {least}x{least} pixels, got {height}x{width}; enlarge them.")
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}.")
