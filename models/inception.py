"""GoogLeNet and Inception-ResNet for small images.

Szegedy et al. 2014, arXiv 1409.4842, and Szegedy et al. 2016, arXiv 1602.07261.
"""

from typing import NamedTuple

import keras
from keras import layers

from epochal.models.blocks import Style
from epochal.models.heads import pooled_classifier


class Branches(NamedTuple):
    """Channels of an inception block: a column of the paper's table 1."""

    one: int
    three_reduced: int
    three: int
    five_reduced: int
    five: int
    pooled: int


BLOCKS = {
    "3a": Branches(64, 96, 128, 16, 32, 32),
    "3b": Branches(128, 128, 192, 32, 96, 64),
    "4a": Branches(192, 96, 208, 16, 48, 64),
    "4b": Branches(160, 112, 224, 24, 64, 64),
    "4c": Branches(128, 128, 256, 24, 64, 64),
    "4d": Branches(112, 144, 288, 32, 64, 64),
    "4e": Branches(256, 160, 320, 32, 128, 128),
    "5a": Branches(256, 160, 320, 32, 128, 128),
    "5b": Branches(384, 192, 384, 48, 128, 128),
}


def googlenet(
    x: keras.KerasTensor, num_classes: int, style: Style, *, small_images: bool = False
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`; without the two auxiliary classifiers of the paper.

    Args:
        small_images: take one 3x3 convolution of 192 channels as the stem instead of one that
            divides the sides by eight, and no dropout.
    """
    if small_images:
        x = style.unit(x, 192, name="stem")
    else:
        x = style.unit(x, 64, 7, stride=2, name="stem_a")
        x = _halve(x, name="pool1")
        x = style.unit(x, 64, 1, name="stem_b")
        x = style.unit(x, 192, name="stem_c")
        x = _halve(x, name="pool2")
    for name, branches in BLOCKS.items():
        if name == "4a":
            x = _halve(x, name="pool3")
        if name == "5a":
            x = _halve(x, name="pool4")
        x = inception_block(
            x,
            branches,
            style=style,
            name=f"inception{name}",
        )
    if not small_images:
        x = style.drop(x, 0.4, name="dropout")
    return pooled_classifier(x, num_classes)


def _halve(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    return layers.MaxPooling2D(
        3,
        2,
        padding="same",
        name=name,
    )(x)


def inception_block(
    x: keras.KerasTensor, branches: Branches, *, style: Style, name: str
) -> keras.KerasTensor:
    """Add four branches side by side and concatenates their channels.

    They are 1x1, 1x1 and 3x3, 1x1 and 5x5, pool and 1x1.
    """
    # weights lie in checkpoints in the order in which layers are made here
    three = style.unit(
        x,
        branches.three_reduced,
        1,
        name=f"{name}_3a",
    )
    five = style.unit(
        x,
        branches.five_reduced,
        1,
        name=f"{name}_5a",
    )
    pooled = layers.MaxPooling2D(
        3,
        1,
        padding="same",
        name=f"{name}_pool",
    )(x)
    one = style.unit(x, branches.one, 1, name=f"{name}_1")
    three = style.unit(
        three,
        branches.three,
        3,
        name=f"{name}_3b",
    )
    five = style.unit(
        five,
        branches.five,
        5,
        name=f"{name}_5b",
    )
    pooled = style.unit(
        pooled,
        branches.pooled,
        1,
        name=f"{name}_p",
    )
    return layers.Concatenate(name=f"{name}_concat")([one, three, five, pooled])


def inception_resnet_block(
    x: keras.KerasTensor, width: int, *, style: Style, scale: float = 0.17, name: str
) -> keras.KerasTensor:
    """Add an Inception-ResNet-A block.

    Three branches and a linear 1x1 convolution are scaled and added to the input.

    Args:
        width: channels of the narrow branches, 32 in the paper.
        scale: of the residual; without it wide networks die early in training (section 3.3).
    """
    three = style.unit(x, width, 1, name=f"{name}_2a")
    five = style.unit(x, width, 1, name=f"{name}_3a")
    five = style.unit(
        five,
        width * 3 // 2,
        3,
        name=f"{name}_3b",
    )
    one = style.unit(x, width, 1, name=f"{name}_1")
    three = style.unit(three, width, 3, name=f"{name}_2b")
    five = style.unit(
        five,
        width * 2,
        3,
        name=f"{name}_3c",
    )
    residual = layers.Concatenate(name=f"{name}_concat")([one, three, five])
    project = layers.Conv2D(
        x.shape[-1], 1, kernel_initializer=style.initializer(), name=f"{name}_out_conv"
    )
    residual = project(residual)
    residual = layers.Rescaling(scale, name=f"{name}_scale")(residual)
    x = style.add(x, residual, name=name)
    return style.activate(x, name=name)


def inception_resnet_cifar(
    x: keras.KerasTensor, num_classes: int, style: Style
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of three stages of three Inception-ResNet-A blocks.

    The network is for 32-pixel images.
    """
    for stage, width, stride in ((1, 16, 1), (2, 32, 2), (3, 64, 2)):
        x = style.unit(
            x,
            width * 4,
            stride=stride,
            name=f"stage{stage}_reduce",
        )
        for block in (1, 2, 3):
            x = inception_resnet_block(
                x,
                width,
                style=style.at_depth(3 * (stage - 1) + block, 9),
                name=f"stage{stage}_block{block}",
            )
    return pooled_classifier(x, num_classes)
