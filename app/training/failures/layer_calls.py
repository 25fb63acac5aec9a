"""A model taken apart: one forward pass, layer by layer and into models inside models, that a gradient can follow."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True, kw_only=True, eq=False)
class Passage:
    """What went into a layer and came out of it.

    The inputs are copies of this layer's own, so that their gradients are what this layer alone passes on.
    """

    name: str
    layer: Any
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]

    @property
    def weights(self) -> list[Any]:
        """The layer's trainable ones."""
        return list(getattr(self.layer, "trainable_weights", []))


@dataclass(kw_only=True)
class Walk:
    """Calls the layers of a model in topological order; `passages` are the calls, named MODEL/LAYER inside a model.

    A layer with a `call` of its own, whatever it is made of, is one passage.
    """

    training: bool
    passages: list[Passage] = field(default_factory=list)

    def __call__(self, model: Any, inputs: Any, prefix: str = "") -> Any:
        """What the model returns for the inputs, tensors of its own dtypes."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                inputs = self._called(layer, prefix)(inputs)
            return inputs
        return model._run_through_graph(
            inputs, operation_fn=lambda layer: self._called(layer, prefix)
        )

    def _called(self, layer: Any, prefix: str) -> Any:
        name = prefix + layer.name
        if isinstance(layer, keras.Model) and type(layer).__module__.startswith(
            "keras."
        ):  # functional or sequential
            return lambda inputs, **_: self(layer, inputs, f"{name}/")

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = keras.tree.map_structure(_copied, (args, kwargs))
            given = _tensors((args, kwargs))
            if "training" in inspect.signature(layer.call).parameters:
                kwargs["training"] = self.training
            outputs = layer(*args, **kwargs)
            self.passages.append(
                Passage(name=name, layer=layer, inputs=given, outputs=_tensors(outputs))
            )
            return outputs

        return call


def _copied(value: Any) -> Any:
    return tf.identity(value) if tf.is_tensor(value) else value


def _tensors(structure: Any) -> list[tf.Tensor]:
    """The floating ones: no others can fail to be finite."""
    return [
        value
        for value in keras.tree.flatten(structure)
        if tf.is_tensor(value) and value.dtype.is_floating
    ]
