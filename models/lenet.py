"""LeNet-5 (LeCun et al. 1998, Gradient-based learning applied to document recognition, II.B)."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier

CANVAS = 32  # pixels; the paper's input, in which a 28-pixel digit has a margin of 2


def lenet5(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`; 61,706 parameters for grey images and 10 classes.

    The common modern form: average pooling without weights, tanh, C3 connected to all six maps of
    S2 (the paper leaves some out to break symmetry), and a dense layer with softmax instead of
    radial basis units. Images smaller than 32x32 are centred in a canvas of zeros, that is of the
    mean colour; larger ones are taken as they are and have more parameters.
    """
    x = _centre_on_canvas(x)
    x = style.unit(x, 6, 5, padding="valid", name="c1")
    x = layers.AveragePooling2D(2, name="s2_pool")(x)
    x = style.unit(x, 16, 5, padding="valid", name="c3")
    x = layers.AveragePooling2D(2, name="s4_pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = style.dense_unit(x, 120, name="c5_dense")
    x = style.dense_unit(x, 84, name="f6_dense")
    return classifier(x, num_classes, initializer=initializers.xavier())


def lenet5_caffe(x: keras.KerasTensor, num_classes: int, style: Style) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of Caffe's LeNet-5, which Deep Compression prunes.

    431,080 parameters on MNIST. No margin, twenty and fifty maps, maximum pooling, and a
    non-linearity behind the first dense layer only.
    """
    for number, filters in ((1, 20), (2, 50)):
        # no rectifier follows: MSRA's variance would double with each, and the first loss with them
        initializer = initializers.xavier()
        name = f"conv{number}"
        x = style.conv(
            x,
            filters,
            5,
            padding="valid",
            kernel_initializer=initializer,
            name=name,
        )
        x = style.norm_layer(x, name=name)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = style.dense_unit(x, 500, name="ip1")
    return classifier(x, num_classes, initializer=initializers.xavier())


def _centre_on_canvas(x: keras.KerasTensor) -> keras.KerasTensor:
    _, height, width, _ = x.shape
    missing_rows = max(0, CANVAS - height)
    missing_columns = max(0, CANVAS - width)
    if missing_rows == 0 and missing_columns == 0:
        return x
    top = missing_rows // 2
    left = missing_columns // 2
    margins = ((top, missing_rows - top), (left, missing_columns - left))
    return layers.ZeroPadding2D(margins, name="canvas")(x)
