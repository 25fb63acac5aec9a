"""Heads: what turns a network's features into logits."""

from collections.abc import Sequence

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style


def hidden_layers(
    x: keras.KerasTensor, hidden: Sequence[int], *, style: Style, first: int = 1
) -> keras.KerasTensor:
    """Add the dense layers of AlexNet and VGG, each followed by dropout, of one half by default.

    They are called `fc{first}` and so on.
    """
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, start=first):
        x = style.dense_unit(x, units, name=f"fc{number}")
        x = style.drop(x, 0.5, name=f"dropout{number}")
    return x


def classifier(
    x: keras.KerasTensor, num_classes: int, *, initializer: keras.initializers.Initializer | str
) -> keras.KerasTensor:
    """Add the last dense layer, `logits`: `[N, features]` to `[N, num_classes]`.

    Computes in float32 under mixed precision too, for bfloat16 would round a logit near 10 to steps
    of 1/16; in float64 only under a float64 policy.
    """
    dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    return layers.Dense(
        num_classes,
        kernel_initializer=initializer,
        dtype=dtype,
        name="logits",
    )(x)


def pooled_classifier(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Add the mean of each channel over the image, and the classifier.

    No weight depends on the image's size.
    """
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return classifier(x, num_classes, initializer=initializers.small())
