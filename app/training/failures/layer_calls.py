"""Layer calls: a forward pass of a model, layer by layer, that a gradient can follow."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCall:
    """A layer's inputs and outputs, those of a floating type.

    The inputs are copies for this layer alone, so that their gradients are what this layer passes
    on.
    """

    name: str
    layer: Any
    inputs: list[tf.Tensor]
    outputs: list[tf.Tensor]

    @property
    def weights(self) -> list[Any]:
        """The layer's trainable weights."""
        return list(getattr(self.layer, "trainable_weights", []))


@dataclass(kw_only=True)
class ForwardPass:
    """Calls the layers of a model in topological order and notes the calls.

    A layer inside a model inside the model is named MODEL/LAYER. A layer with a `call` of its own,
    whatever it is made of, is one call.
    """

    training: bool
    calls: list[LayerCall] = field(default_factory=list)

    def __call__(self, model: Any, inputs: Any, prefix: str = "") -> Any:
        """Return what the model returns for the inputs, which are tensors of its own dtypes."""
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                inputs = self._calling(layer, prefix)(inputs)
            return inputs
        return model._run_through_graph(
            inputs, operation_fn=lambda layer: self._calling(layer, prefix)
        )

    def _calling(self, layer: Any, prefix: str) -> Callable[..., Any]:
        """Return what calls a layer and notes it, or goes into a model of Keras' own kinds."""
        name = prefix + layer.name
        is_functional = type(layer).__module__.startswith("keras.")
        if isinstance(layer, keras.Model) and is_functional:
            return lambda inputs, **_: self(layer, inputs, f"{name}/")

        def call(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = keras.tree.map_structure(_copy, (args, kwargs))
            inputs = _floating_tensors((args, kwargs))
            if "training" in inspect.signature(layer.call).parameters:
                kwargs["training"] = self.training
            outputs = layer(*args, **kwargs)
            noted = LayerCall(
                name=name, layer=layer, inputs=inputs, outputs=_floating_tensors(outputs)
            )
            self.calls.append(noted)
            return outputs

        return call


def _copy(value: Any) -> Any:
    return tf.identity(value) if tf.is_tensor(value) else value


def _floating_tensors(structure: Any) -> list[tf.Tensor]:
    """Return the tensors that may fail to be finite."""
    tensors = []
    for value in keras.tree.flatten(structure):
        if tf.is_tensor(value) and value.dtype.is_floating:
            tensors.append(value)
    return tensors
