"""AlexNet (Krizhevsky et al. 2012, ImageNet classification with deep convolutional networks)."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier, hidden_layers
from epochal.models.layers.local_response import LocalResponseNormalization


def alexnet(
    x: keras.KerasTensor, num_classes: int, style: Style, *, columns: int = 2
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`; at 224 or 227 pixels the layers of the paper's figure 2.

    Args:
        columns: 2 as in the paper, whose second, fourth and fifth convolution see half of the
            channels each (60,965,224 parameters for 1000 classes), or 1 (62,378,344).
    """
    # with this margin 224 pixels give the paper's 55
    x = layers.ZeroPadding2D(((1, 2), (1, 2)), name="margin")(x)
    x = style.unit(
        x,
        96,
        11,
        stride=4,
        padding="valid",
        name="conv1",
    )
    x = _inhibit_and_pool(x, style, 1)
    x = style.unit(x, 256, 5, groups=columns, name="conv2")
    x = _inhibit_and_pool(x, style, 2)
    x = style.unit(x, 384, name="conv3")
    x = style.unit(x, 384, groups=columns, name="conv4")
    x = style.unit(x, 256, groups=columns, name="conv5")
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = hidden_layers(
        x,
        (4096, 4096),
        style=style,
        first=6,
    )
    return classifier(x, num_classes, initializer=initializers.small())


def alexnet_cifar(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of a single column for 32 pixels.

    2,472,266 parameters for 10 classes. The sizes are those of
    github.com/bearpaw/pytorch-classification, whose published error on CIFAR-10 is 22.78 %.
    """
    x = layers.ZeroPadding2D(5, name="margin")(x)
    x = style.unit(
        x,
        64,
        11,
        stride=4,
        padding="valid",
        name="conv1",
    )
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = style.unit(x, 192, 5, name="conv2")
    x = layers.MaxPooling2D(2, name="pool2")(x)
    x = style.unit(x, 384, name="conv3")
    x = style.unit(x, 256, name="conv4")
    x = style.unit(x, 256, name="conv5")
    x = layers.MaxPooling2D(2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    return classifier(x, num_classes, initializer=initializers.small())


def _inhibit_and_pool(x: keras.KerasTensor, style: Style, number: int) -> keras.KerasTensor:
    """Add local response normalization, unless the style brings another norm, and a pooling.

    The pools overlap: they take 3 pixels and move by 2.
    """
    if style.norm == "none":
        x = LocalResponseNormalization(name=f"lrn{number}")(x)
    return layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
