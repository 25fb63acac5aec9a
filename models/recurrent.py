"""Recurrent classifiers that read an image row by row, top to bottom."""

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier


def recurrent(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    cell: type[layers.Layer],
    units: int = 128,
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` from the state after the last row.

    The non-linearity is tanh whatever the style. The same weights serve every row, so that their
    number does not depend on the height.

    Args:
        cell: `keras.layers.SimpleRNN` or `keras.layers.LSTM` (whose forget gates start at 1).
        units: numbers in the state.
    """
    _, height, width, channels = x.shape
    rows = layers.Reshape((height, width * channels), name="rows")(x)
    state = cell(
        units,
        kernel_initializer=initializers.xavier(),
        name="rnn",
    )(rows)
    return classifier(
        state,
        num_classes,
        initializer=initializers.xavier(),
    )
