"""Copies of functional models in which some layers are replaced or removed."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import keras


def count_readers(model: keras.Model) -> Counter[int]:
    """Return how many layers read each tensor, by the tensor's id.

    To be an output of the model counts as one reader.
    """
    counts = Counter[int]()
    for layer in model.layers:
        counts.update(id(tensor) for tensor in inputs_of(layer))
    counts.update(id(tensor) for tensor in model.outputs)
    return counts


def inputs_of(layer: Any) -> list[Any]:
    """Return the tensors that a layer of a functional model reads."""
    if isinstance(layer, keras.layers.InputLayer):
        return []
    return keras.tree.flatten(layer.input)


def rewrite(
    model: keras.Model, *, replacements: Mapping[str, Any], removed: Collection[str]
) -> keras.Model:
    """Return a copy of the model with its weights; the model is left as it is.

    Args:
        model: made of layers alone, as `keras.Model(inputs, outputs)` makes it.
        replacements: new layers by the names of those that they replace; their weights stay.
        removed: names of layers with one input, which goes to their readers.
    """

    def copy_layer(layer: Any) -> Any:
        if layer.name in replacements:
            return replacements[layer.name]
        return type(layer).from_config(layer.get_config())

    def call_layer(layer: Any, *inputs: Any, **options: Any) -> Any:
        if layer.name in removed:
            return inputs[0]
        return layer(*inputs, **options)

    copy = keras.models.clone_model(
        model,
        clone_function=copy_layer,
        call_function=call_layer,
    )
    for layer in copy.layers:
        if layer.weights and layer.name not in replacements:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy
