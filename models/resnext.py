"""ResNeXt (Xie et al. 2017, arXiv 1611.05431): the 3x3 convolution of a bottleneck has groups."""

from collections.abc import Sequence

import keras

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier
from epochal.models.residual import Residual, stages
from epochal.models.resnet import BLOCKS, BOTTLENECK, WIDTHS, cifar_stem, imagenet_stem


def resnext(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    cardinality: int,
    width: int,
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of the networks of ImageNet: 50 or 101 layers (table 1).

    Args:
        cardinality: groups (C in the paper).
        width: channels of a group in the first stage (d in the paper).
    """
    x = imagenet_stem(
        x,
        WIDTHS[0],
        style=style,
        preactivated=False,
    )
    x = _add_stages(
        x,
        style,
        BLOCKS[depth],
        cardinality,
        width,
    )
    return pooled_classifier(x, num_classes)


def resnext29(
    x: keras.KerasTensor, num_classes: int, style: Style, *, cardinality: int, width: int
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of the network of CIFAR: three stages of three blocks.

    Section 5.2 of the paper; the arguments are those of `resnext`.
    """
    x = cifar_stem(
        x,
        WIDTHS[0],
        style=style,
        preactivated=False,
    )
    x = _add_stages(
        x,
        style,
        (3, 3, 3),
        cardinality,
        width,
    )
    return pooled_classifier(x, num_classes)


def _add_stages(
    x: keras.KerasTensor, style: Style, blocks: Sequence[int], cardinality: int, width: int
) -> keras.KerasTensor:
    plan = []
    inner = cardinality * width
    filters = WIDTHS[0] * BOTTLENECK
    for num_blocks in blocks:
        plan.append((num_blocks, inner, filters))
        inner *= 2
        filters *= 2
    block = Residual(
        style=style,
        bottleneck=True,
        groups=cardinality,
    )
    return stages(x, block, plan)
