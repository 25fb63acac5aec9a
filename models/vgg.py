"""VGG (Simonyan and Zisserman 2014, arXiv 1409.1556), generated from its rules."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier, hidden_layers

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FIRST_WIDTH = 64
LARGEST_WIDTH = 512


def vgg(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    depth: int,
    hidden: tuple[int, ...] = (),
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`: 3x3 convolutions only.

    A maximum over 2x2 pixels ends each stage. Channels double from stage to stage up to 512.

    Args:
        depth: weighted layers of the paper's configuration: 11, 13, 16 or 19.
        hidden: units of the dense layers before the logits, each followed by dropout: (4096, 4096)
            on ImageNet.
    """
    filters = FIRST_WIDTH
    for stage, num_convolutions in enumerate(STAGES[depth], start=1):
        for number in range(1, num_convolutions + 1):
            x = style.unit(x, filters, name=f"block{stage}_{number}")
        x = layers.MaxPooling2D(2, name=f"block{stage}_pool")(x)
        filters = min(2 * filters, LARGEST_WIDTH)
    x = hidden_layers(x, hidden, style=style)
    return classifier(x, num_classes, initializer=initializers.small())
