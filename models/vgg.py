"""VGG (Simonyan and Zisserman 2014, arXiv 1409.1556), generated from its rules."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style, classifier, hidden_layers

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FIRST = 64
CAP = 512  # channels


def vgg(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    hidden: tuple[int, ...] = (),
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]`: 3x3 convolutions only, a maximum over 2x2 pixels after each stage.

    Channels double from stage to stage up to 512.

    Args:
        depth: weighted layers of the paper's configuration: 11, 13, 16 or 19.
        hidden: units of the dense layers before the logits, each followed by dropout: (4096, 4096) on ImageNet.
    """
    for stage, convolutions in enumerate(STAGES[depth], start=1):
        for i in range(1, convolutions + 1):
            x = style.unit(x, min(CAP, FIRST * 2 ** (stage - 1)), name=f"block{stage}_{i}")
        x = layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
    return classifier(
        hidden_layers(x, hidden, style=style), num_classes, initializer=initializers.small()
    )
