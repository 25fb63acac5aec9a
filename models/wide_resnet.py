"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146)."""

import keras

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier
from epochal.models.residual import Residual, stages
from epochal.models.resnet import CIFAR_WIDTHS, cifar_stem


def wide_resnet(
    x: keras.KerasTensor, num_classes: int, style: Style, *, depth: int, factor: int
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of pre-activated basic blocks.

    The blocks are `factor` times as wide as in ResNet.

    Args:
        depth: 6n + 4, which counts the three projections, too.
    """
    if depth < 10 or depth % 6 != 4:
        below = max(10, depth - (depth - 4) % 6)
        raise ValueError(
            f"depth must be 6n + 4, got {depth}; the nearest are {below} and {below + 6}."
        )
    num_blocks = depth // 6
    plan = [(num_blocks, width * factor, width * factor) for width in CIFAR_WIDTHS]
    block = Residual(style=style, preactivated=True)
    x = cifar_stem(
        x,
        CIFAR_WIDTHS[0],
        style=style,
        preactivated=True,
    )
    x = stages(x, block, plan)
    return pooled_classifier(x, num_classes)
