"""EfficientNet-Lite0: EfficientNet-B0 without what phones are slow at.

Tan and Le 2019, arXiv 1905.11946, table 1; the Lite networks of the same authors leave out squeeze
and excitation, clip at six in place of swish, and scale neither stem nor head
(github.com/tensorflow/tpu, models/official/efficientnet/lite). Batch norm, padding and rates of
dropping are those of that code.
"""

from dataclasses import dataclass

import keras

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier

STYLE = Style(
    activation="relu6",
    padding="same",
    epsilon=1e-3,
    momentum=0.99,
    stochastic_depth=0.2,  # it grows linearly from 0 in the first block
)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Blocks of equal width, the first of which may have a stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)
STEM = 32  # channels
HEAD = 1280
DROPOUT = 0.2  # of the features before the classifier


def efficientnet_lite(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of EfficientNet-Lite0."""
    x = style.unit(
        x,
        STEM,
        stride=2,
        name="stem",
    )
    num_blocks = sum(stage.blocks for stage in STAGES)
    number = 0
    for stage in STAGES:
        for place in range(stage.blocks):
            name = f"block{number + 1}"
            stride = stage.stride if place == 0 else 1
            residual = _mobile_block(
                x,
                stage,
                stride=stride,
                style=style,
                name=name,
            )
            if residual.shape == x.shape:
                residual = style.at_depth(number, num_blocks).add(x, residual, name=name)
            x = residual
            number += 1
    x = style.unit(
        x,
        HEAD,
        1,
        name="head",
    )
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = style.drop(x, DROPOUT, name="dropout")
    return classifier(x, num_classes, initializer=initializers.small())


def _mobile_block(
    x: keras.KerasTensor, stage: Stage, *, stride: int, style: Style, name: str
) -> keras.KerasTensor:
    """Add a wide depthwise convolution between two thin ends, the last of which stays linear."""
    if stage.expansion > 1:
        x = style.unit(
            x,
            x.shape[-1] * stage.expansion,
            1,
            name=f"{name}_expand",
        )
    name_of_depthwise = f"{name}_depthwise"
    x = style.depthwise(
        x,
        stage.kernel,
        stride=stride,
        name=f"{name_of_depthwise}_conv",
    )
    x = style.norm_layer(x, name=name_of_depthwise)
    x = style.activate(x, name=name_of_depthwise)
    x = style.conv(
        x,
        stage.channels,
        1,
        name=f"{name}_project_conv",
    )
    return style.norm_layer(x, name=f"{name}_project")
