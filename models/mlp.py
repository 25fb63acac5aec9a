"""Multi-layer perceptrons: fully connected layers, each with its own activation."""

from collections.abc import Sequence
from dataclasses import replace

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style, classifier
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
    """Returns logits `[N, num_classes]`.

    Args:
        hidden: units of each hidden layer, at least one.
        activations: one for each hidden layer (None: the style's for all).
        dropout: share of each hidden layer's outputs dropped in training.
    """
    names = [style.activation] * len(hidden) if activations is None else list(activations)
    if len(names) != len(hidden):
        raise ValueError(
            f"activations must name one for each of the {len(hidden)} hidden layers, got {names}."
        )
    x = layers.Flatten(name="flatten")(x)
    for i, (units, activation) in enumerate(zip(hidden, names, strict=True), start=1):
        x = replace(style, activation=activation).dense_unit(x, units, name=f"hidden{i}")
        if dropout:
            x = PerSampleDropout(dropout, name=f"dropout{i}")(x)
    return classifier(x, num_classes, initializer=initializers.xavier())
