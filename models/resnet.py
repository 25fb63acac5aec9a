"""Residual networks v1 and v2.

He et al. 2015, arXiv 1512.03385, and He et al. 2016, arXiv 1603.05027.
"""

from typing import Any

import keras
from keras import layers

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier
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
    """Return logits `[N, num_classes]` of the three-stage networks for small images.

    Section 4.2 of the first paper.

    Args:
        depth: weighted layers: 6n + 2, with bottlenecks 9n + 2.
        block: further arguments of `Residual`.
    """
    residual = Residual(style=style, bottleneck=bottleneck, **block)
    if bottleneck:
        num_blocks = _blocks_per_stage(depth, 9)
        widening = BOTTLENECK
    else:
        num_blocks = _blocks_per_stage(depth, 6)
        widening = 1
    plan = [(num_blocks, width, width * widening) for width in CIFAR_WIDTHS]
    x = cifar_stem(
        x,
        CIFAR_WIDTHS[0],
        style=style,
        preactivated=residual.preactivated,
    )
    x = stages(x, residual, plan)
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
    """Return logits `[N, num_classes]` of the four-stage networks of ImageNet.

    Table 1 of the first paper.

    Args:
        depth: 18 or 34 (basic blocks), 50, 101 or 152 (bottlenecks).
        small_images: take `cifar_stem` instead of one that divides height and width by four.
        block: further arguments of `Residual`.
    """
    bottleneck = depth >= 50
    widening = BOTTLENECK if bottleneck else 1
    plan = []
    for num_blocks, width in zip(BLOCKS[depth], WIDTHS, strict=True):
        plan.append((num_blocks, width, width * widening))
    residual = Residual(style=style, bottleneck=bottleneck, **block)
    stem = cifar_stem if small_images else imagenet_stem
    x = stem(
        x,
        WIDTHS[0],
        style=style,
        preactivated=residual.preactivated,
    )
    x = stages(x, residual, plan)
    return pooled_classifier(x, num_classes)


def cifar_stem(
    x: keras.KerasTensor, width: int, *, style: Style, preactivated: bool
) -> keras.KerasTensor:
    """Add a 3x3 convolution, and norm and non-linearity unless the blocks begin with these."""
    if preactivated:
        return style.conv(x, width, name="stem_conv")
    return style.unit(x, width, name="stem")


def imagenet_stem(
    x: keras.KerasTensor, width: int, *, style: Style, preactivated: bool
) -> keras.KerasTensor:
    """Add a 7x7 convolution and a 3x3 maximum, both with stride 2.

    A sixteenth of the pixels is left.
    """
    if preactivated:
        x = style.conv(
            x,
            width,
            7,
            stride=2,
            name="stem_conv",
        )
    else:
        x = style.unit(x, width, 7, stride=2, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    return layers.MaxPooling2D(3, 2, name="stem_pool")(x)


def _blocks_per_stage(depth: int, convolutions: int) -> int:
    """Return n for a network of `depth` weighted layers: `convolutions` times n, and two more."""
    num_blocks, excess = divmod(depth - 2, convolutions)
    if excess == 0 and num_blocks >= 1:
        return num_blocks
    nearest = f"{convolutions + 2}"
    if num_blocks >= 1:
        below = num_blocks * convolutions + 2
        nearest = f"{below} and {below + convolutions}"
    raise ValueError(f"depth must be {convolutions}n + 2, got {depth}; the nearest are {nearest}.")
