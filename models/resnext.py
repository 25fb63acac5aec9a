"""ResNeXt (Xie et al. 2017, arXiv 1611.05431): the 3x3 convolution of a bottleneck has groups."""

import keras

from epochal.models.blocks import Style, pooled_classifier
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
    """Returns logits `[N, num_classes]` of the networks of ImageNet: 50 or 101 layers (table 1).

    Args:
        cardinality: groups (C in the paper).
        width: channels of a group in the first stage (d in the paper).
    """
    x = imagenet_stem(x, WIDTHS[0], style=style, preactivated=False)
    return _stages(x, num_classes, style, BLOCKS[depth], (cardinality, width))


def resnext29(
    x: keras.KerasTensor, num_classes: int, style: Style, *, cardinality: int, width: int
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of the network of CIFAR: three stages of three blocks (section 5.2)."""
    x = cifar_stem(x, WIDTHS[0], style=style, preactivated=False)
    return _stages(x, num_classes, style, (3, 3, 3), (cardinality, width))


def _stages(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    blocks: tuple[int, ...],
    group: tuple[int, int],
) -> keras.KerasTensor:
    cardinality, width = group
    block = Residual(style=style, bottleneck=True, groups=cardinality)
    plan = [
        (n, cardinality * width * 2**i, WIDTHS[0] * BOTTLENECK * 2**i) for i, n in enumerate(blocks)
    ]
    return pooled_classifier(stages(x, block, plan), num_classes)
