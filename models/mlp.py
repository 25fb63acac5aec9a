"""Multi-layer perceptrons: fully connected layers, each with its own activation."""

from collections.abc import Sequence

import keras
from keras import layers

from models import initializers
from models.blocks import classifier
from models.layers.dropout import PerSampleDropout


def mlp(
    x: keras.KerasTensor,
    num_classes: int,
    *,
    hidden: Sequence[int],
    activations: str | Sequence[str] = "relu",
    dropout: float = 0.0,
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]`.

    Args:
        hidden: units of each hidden layer, at least one.
        activations: a Keras activation name for all of them, or one for each.
        dropout: share of each hidden layer's outputs dropped in training.
    """
    names = [activations] * len(hidden) if isinstance(activations, str) else list(activations)
    if len(names) != len(hidden):
        raise ValueError(f"activations must name one for each of the {len(hidden)} hidden layers, got {names}.")
    x = layers.Flatten(name="flatten")(x)
    for i, (units, activation) in enumerate(zip(hidden, names, strict=True), start=1):
        kernel = initializers.for_activation(activation)
        x = layers.Dense(units, activation, kernel_initializer=kernel, name=f"hidden{i}")(x)
        if dropout:
            x = PerSampleDropout(dropout, name=f"dropout{i}")(x)
    return classifier(x, num_classes, initializer=initializers.xavier())
