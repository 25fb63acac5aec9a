"""Copies of functional models in which some layers are others, or none."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import keras


def readers(model: keras.Model) -> Counter[int]:
    """How many layers read each tensor, by the tensor's id; to be an output of the model counts as one."""
    found = Counter(id(tensor) for layer in model.layers for tensor in inputs_of(layer))
    found.update(id(tensor) for tensor in model.outputs)
    return found


def inputs_of(layer: Any) -> list[Any]:
    """The tensors that a layer of a functional model reads."""
    return keras.tree.flatten(layer.input) if not isinstance(layer, keras.layers.InputLayer) else []


def rewritten(
    model: keras.Model, *, instead: Mapping[str, Any], gone: Collection[str]
) -> keras.Model:
    """A copy with the model's weights.

    Args:
        model: made of layers alone, as `keras.Model(inputs, outputs)` makes it; it is left as it is.
        instead: new layers by the names of those that they replace; they keep the weights they have, or get their own.
        gone: names of layers with one input, which is handed on.
    """

    def clone(layer: Any) -> Any:
        return (
            instead[layer.name]
            if layer.name in instead
            else type(layer).from_config(layer.get_config())
        )

    def call(layer: Any, *inputs: Any, **options: Any) -> Any:
        return inputs[0] if layer.name in gone else layer(*inputs, **options)

    copy = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in (layer for layer in copy.layers if layer.weights and layer.name not in instead):
        layer.set_weights(model.get_layer(layer.name).get_weights())
    return copy
