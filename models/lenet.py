"""LeNet-5 (LeCun et al. 1998, Gradient-based learning applied to document recognition, section II.B)."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style, classifier

CANVAS = 32  # pixels; the paper's input, in which a 28-pixel digit has a margin of 2


def lenet5(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]`; 61,706 parameters for grey images up to 32x32 and 10 classes.

    The common modern form: average pooling without weights, tanh, C3 connected to all six maps of S2 (the
    paper leaves some out to break symmetry), and a dense layer with softmax instead of radial basis units.
    Images smaller than 32x32 are centred in a canvas of zeros, that is of the mean colour; larger ones are
    taken as they are.
    """
    x = _on_canvas(x)
    for i, filters in ((1, 6), (3, 16)):
        x = style.unit(x, filters, 5, padding="valid", name=f"c{i}")
        x = layers.AveragePooling2D(2, name=f"s{i + 1}_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = style.dense_unit(x, 120, name="c5_dense")
    x = style.dense_unit(x, 84, name="f6_dense")
    return classifier(x, num_classes, initializer=initializers.xavier())


def lenet5_caffe(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of Caffe's LeNet-5, which Deep Compression prunes: 431,080 parameters on MNIST.

    No margin, twenty and fifty maps, maximum pooling, and a non-linearity behind the first dense layer only.
    """
    for i, filters in ((1, 20), (2, 50)):
        # no rectifier follows: MSRA's variance would double with each, and the first loss with them
        x = style.conv(
            x,
            filters,
            5,
            padding="valid",
            kernel_initializer=initializers.xavier(),
            name=f"conv{i}",
        )
        x = style.norm_layer(x, name=f"conv{i}")
        x = layers.MaxPooling2D(2, name=f"pool{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = style.dense_unit(x, 500, name="ip1")
    return classifier(x, num_classes, initializer=initializers.xavier())


def _on_canvas(x: keras.KerasTensor) -> keras.KerasTensor:
    margins = [max(0, CANVAS - size) for size in x.shape[1:3]]
    if not any(margins):
        return x
    return layers.ZeroPadding2D(
        [(margin // 2, margin - margin // 2) for margin in margins], name="canvas"
    )(x)
