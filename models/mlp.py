"""Multi-layer perceptrons: fully connected layers, each with its own activation."""

from collections.abc import Sequence
from dataclasses import replace

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style
from epochal.models.heads import classifier
from epochal.models.layers.dropout import PerSampleDropout


def mlp(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    hidden: Sequence[int],
    activations: Sequence[str] | None = None,
    dropout: float = 0.0,
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]`.

    Args:
        hidden: units of each hidden layer, at least one.
        activations: one for each hidden layer (None: the style's for all).
        dropout: share of each hidden layer's outputs dropped in training, unless the style says.
    """
    if activations is None:
        activations = [style.activation] * len(hidden)
    if len(activations) != len(hidden):
        raise ValueError(
            f"activations must name one for each of the {len(hidden)} hidden layers, "
            f"got {list(activations)}."
        )
    x = layers.Flatten(name="flatten")(x)
    if style.input_dropout > 0:
        x = PerSampleDropout(style.input_dropout, name="input_dropout")(x)
    for number, (units, activation) in enumerate(
        zip(
            hidden,
            activations,
            strict=True,
        ),
        start=1,
    ):
        layer_style = replace(style, activation=activation)
        x = layer_style.dense_unit(x, units, name=f"hidden{number}")
        x = style.drop(x, dropout, name=f"dropout{number}")
    return classifier(x, num_classes, initializer=initializers.xavier())
