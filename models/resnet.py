"""Residual networks v1 (He et al. 2015, arXiv 1512.03385) and v2 (He et al. 2016, arXiv 1603.05027)."""

from typing import Any

import keras
from keras import layers

from epochal.models.blocks import Style, pooled_classifier
from epochal.models.residual import Residual, stages

CIFAR_WIDTHS = (16, 32, 64)
WIDTHS = (64, 128, 256, 512)
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK = 4  # times as many channels leave a bottleneck as its 3x3 convolution has


def resnet_cifar(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    bottleneck: bool = False,
    **block: Any,
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of a stem, three stages of n blocks, pooling and a classifier (section 4.2).

    Args:
        depth: weighted layers: 6n + 2, with bottlenecks 9n + 2.
        block: what else its blocks are, see `Residual`.
    """
    blocks = _blocks(depth, 9 if bottleneck else 6)
    residual = Residual(style=style, bottleneck=bottleneck, **block)
    x = cifar_stem(x, CIFAR_WIDTHS[0], style=style, preactivated=residual.preactivated)
    wider = BOTTLENECK if bottleneck else 1
    x = stages(x, residual, [(blocks, width, width * wider) for width in CIFAR_WIDTHS])
    return pooled_classifier(x, num_classes)


def resnet(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    small_images: bool = False,
    **block: Any,
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of the four-stage networks of ImageNet (table 1 of the first paper).

    Args:
        depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        small_images: the stem of `cifar_stem` instead of one that divides height and width by four.
        block: what else its blocks are, see `Residual`.
    """
    bottleneck = depth >= 50
    residual = Residual(style=style, bottleneck=bottleneck, **block)
    stem = cifar_stem if small_images else imagenet_stem
    x = stem(x, WIDTHS[0], style=style, preactivated=residual.preactivated)
    wider = BOTTLENECK if bottleneck else 1
    x = stages(
        x,
        residual,
        [(n, width, width * wider) for n, width in zip(BLOCKS[depth], WIDTHS, strict=True)],
    )
    return pooled_classifier(x, num_classes)


def cifar_stem(
    x: keras.KerasTensor, width: int, *, style: Style, preactivated: bool
) -> keras.KerasTensor:
    """Adds a 3x3 convolution; where blocks activate their own input it ends there."""
    if preactivated:
        return style.conv(x, width, name="stem_conv")
    return style.unit(x, width, name="stem")


def imagenet_stem(
    x: keras.KerasTensor, width: int, *, style: Style, preactivated: bool
) -> keras.KerasTensor:
    """Adds a 7x7 convolution and a 3x3 maximum, both with stride 2: a sixteenth of the pixels is left."""
    if preactivated:
        x = style.conv(x, width, 7, stride=2, name="stem_conv")
    else:
        x = style.unit(x, width, 7, stride=2, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def _blocks(depth: int, layers_of_three: int) -> int:
    """Blocks a stage of a network with `depth` weighted layers, `layers_of_three` of them in a block of every stage."""
    blocks, rest = divmod(depth - 2, layers_of_three)
    if rest or blocks < 1:
        below = max(blocks, 1) * layers_of_three + 2
        nearest = f"{below} and {below + layers_of_three}" if blocks >= 1 else str(below)
        raise ValueError(
            f"depth must be {layers_of_three}n + 2, got {depth}; the nearest are {nearest}."
        )
    return blocks
