"""Residual networks for small images (He et al. 2015, arXiv 1512.03385, section 4.2)."""

import keras
from keras import layers

from models import initializers
from models.blocks import basic_block, classifier, conv_bn

WIDTHS = (16, 32, 64)


def resnet_cifar(x: keras.KerasTensor, num_classes: int, *, depth: int, shortcut: str = "A") -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of a stem, three stages of n basic blocks, pooling and a classifier.

    The second and the third stage halve height and width and double the channels.

    Args:
        depth: weighted layers, 6n + 2.
        shortcut: "A" (zero padding, as in the paper's table) or "B" (projection) where a stage begins.
    """
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, ...), got {depth}.")
    x = conv_bn(x, WIDTHS[0], name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, filters in enumerate(WIDTHS, start=1):
        for block in range(1, depth // 6 + 1):
            stride = 2 if block == 1 and stage > 1 else 1
            name = f"stage{stage}_block{block}"
            x = basic_block(x, filters, stride=stride, shortcut=shortcut, name=name)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return classifier(x, num_classes, initializer=initializers.small())
