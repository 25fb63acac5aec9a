"""Rules of cost: the calls of layers in a model, and the cost of each class of layer.

`complexity` defines the terms.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import keras
from keras import layers

from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.local_response import LocalResponseNormalization
from epochal.models.layers.normalize import Normalize
from epochal.models.layers.shortcut import Shortcut
from epochal.models.layers.standardize import Standardize
from epochal.models.layers.stochastic_depth import StochasticDepth

# numbers that a unit keeps of each step, as TensorFlow's LSTM block does
RECURRENT = {layers.SimpleRNN: 1, layers.LSTM: 7}
COUNTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense, *RECURRENT)
VIEWS = (layers.Flatten, layers.Reshape)  # the same numbers in the same place
DROPOUTS = (PerSampleDropout, layers.Dropout)  # they do nothing at inference
MAXIMA = (layers.MaxPooling2D, layers.GlobalMaxPooling2D)
# their gradient reads no activation, except a dropout's mask
LINEAR = (
    layers.InputLayer,
    Standardize,
    Normalize,
    Shortcut,
    layers.ZeroPadding2D,
    layers.Add,
    layers.Concatenate,
    layers.Rescaling,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling2D,
    *VIEWS,
    *DROPOUTS,
)
# activations whose gradient reads their output
FROM_OUTPUT = ("relu", "relu6", "tanh", "sigmoid", "elu", "selu", "softmax")


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation: the shape for one image, elements and bytes for the batch."""

    shape: tuple[int, ...]
    elements: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer."""

    layer: Any
    inputs: list[Tensor]
    outputs: list[Tensor]

    @property
    def idle(self) -> bool:
        """Return whether the layer neither reads nor writes at inference."""
        return isinstance(self.layer, (*VIEWS, *DROPOUTS, layers.InputLayer))


@dataclass(frozen=True)
class Trace:
    """All calls in a model for a batch, in the order in which Keras makes them."""

    batch_size: int
    calls: list[Call] = field(default_factory=list)

    def run(self, model: Any, inputs: Sequence[Tensor] = ()) -> list[Tensor]:
        """Append the calls in `model`, those of a nested one in its place; return its outputs.

        Raises:
            ValueError: something that is no layer takes part, or a shape is open.
        """
        graph = (
            getattr(
                model,
                "_functional",
                None,
            )
            or model
        )  # a Sequential holds one
        tensors = {}
        for symbol, tensor in zip(graph.inputs, inputs, strict=False):
            tensors[id(symbol)] = tensor
        # Keras has no public way to the graph
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if id(node.outputs[0]) in tensors:
                    continue
                node_inputs = [tensors[id(symbol)] for symbol in node.input_tensors]
                node_outputs = self._call(node, node_inputs)
                for symbol, tensor in zip(
                    node.outputs,
                    node_outputs,
                    strict=True,
                ):
                    tensors[id(symbol)] = tensor
        return [tensors[id(symbol)] for symbol in graph.outputs]

    def _call(self, node: Any, inputs: list[Tensor]) -> list[Tensor]:
        layer = node.operation
        if isinstance(layer, keras.Model):
            return self.run(layer, inputs)
        if not isinstance(layer, layers.Layer):
            raise ValueError(
                f"Cannot count {layer.name!r}, which is no layer; put the operation into one."
            )
        outputs = [self._make_tensor(layer.name, symbol) for symbol in node.outputs]
        self.calls.append(Call(layer, inputs, outputs))
        return outputs

    def _make_tensor(self, name: str, symbol: Any) -> Tensor:
        shape = tuple(symbol.shape[1:])
        if None in shape:
            raise ValueError(
                f"Cannot count {name!r} at the open shape {shape}; "
                "build the model for images of one size."
            )
        elements = self.batch_size * math.prod(shape)
        return Tensor(shape, elements, elements * itemsize(symbol))


def itemsize(array: Any) -> int:
    """Return the bytes of one number of a weight or symbolic tensor: 2 of `bfloat16`."""
    name = keras.backend.standardize_dtype(array.dtype)
    if name == "bool":
        return 1
    bits = int(name.lstrip(ascii_lowercase))
    return bits // 8


def multiply_adds_of_call(call: Call) -> int:
    """Return the multiply-adds of a convolution, dense or recurrent layer for one image; else 0.

    Raises:
        ValueError: the layer holds a matrix or kernel but is of a class that is not counted here.
    """
    layer = call.layer
    if isinstance(layer, Normalize) and layer.factors.ndim == 2:
        return int(layer.factors.size)
    if not isinstance(layer, COUNTED):
        has_kernel = any(len(weight.shape) > 1 for weight in layer.weights)
        if has_kernel and not isinstance(layer, layers.PReLU):
            raise ValueError(
                f"Cannot count the multiply-adds of {layer.name!r}, a {type(layer).__name__}."
            )
        return 0
    # each position or step meets every number of the kernels once, in grouped convolutions too
    positions = math.prod(call.outputs[0].shape[:-1])
    if isinstance(layer, tuple(RECURRENT)):
        positions = call.inputs[0].shape[0]
    total = 0
    for weight in layer.weights:
        if weight.name.endswith("kernel"):
            total += positions * math.prod(weight.shape)
    return total


def find_kept_tensors(calls: Sequence[Call]) -> set[Tensor]:
    """Return the activations that the backward pass reads, each as the tensor that holds it."""
    holders = _find_holders(calls, VIEWS)
    kept = set[Tensor]()
    for call in calls:
        kept.update(holders[tensor] for tensor in _read_by_gradient(call))
    return kept


def bytes_kept_inside(call: Call) -> int:
    """Return the bytes that the backward pass reads and that never leave the layer."""
    layer = call.layer
    result = call.outputs[0]
    if isinstance(layer, StochasticDepth):
        return result.elements // math.prod(result.shape)  # a byte of mask for each image
    if isinstance(layer, DROPOUTS):
        return result.elements  # a byte of mask for each
    if isinstance(layer, LocalResponseNormalization):
        return result.bytes  # the divisor of each element
    if isinstance(layer, layers.SeparableConv2D):
        # the output of its depthwise half
        bytes_per_channel = result.bytes // result.shape[-1]
        return bytes_per_channel * call.inputs[0].shape[-1] * layer.depth_multiplier
    for recurrent_class, numbers in RECURRENT.items():
        if isinstance(layer, recurrent_class):
            steps = call.inputs[0].shape[0]
            bytes_per_number = result.bytes // math.prod(result.shape)
            return numbers * steps * layer.units * bytes_per_number
    if isinstance(layer, COUNTED) and _activation_name(layer) not in ("linear", *FROM_OUTPUT):
        return result.bytes  # the input of the non-linearity
    return 0


def live_bytes_by_call(calls: Sequence[Call], outputs: Iterable[Tensor]) -> list[int]:
    """Return the bytes of activations that exist while each call runs.

    Every activation is freed after its last reader.
    """
    holders = _find_holders(calls, (*VIEWS, *DROPOUTS))
    last_use = {}
    for number, call in enumerate(calls):
        for tensor in (*call.inputs, *call.outputs):
            last_use[holders[tensor]] = number
    for tensor in outputs:
        last_use[holders[tensor]] = len(calls)
    alive = set[Tensor]()
    sums = []
    for number, call in enumerate(calls):
        alive.update(holders[tensor] for tensor in call.outputs)
        sums.append(sum(tensor.bytes for tensor in alive))
        alive = {tensor for tensor in alive if last_use[tensor] > number}
    return sums


def _find_holders(calls: Sequence[Call], views: tuple[type, ...]) -> dict[Tensor, Tensor]:
    """Return for every activation the one whose memory it shares: itself, except behind `views`."""
    holders: dict[Tensor, Tensor] = {}
    for call in calls:
        for tensor in call.outputs:
            if isinstance(call.layer, views):
                holders[tensor] = holders[call.inputs[0]]
            else:
                holders[tensor] = tensor
    return holders


def _read_by_gradient(call: Call) -> list[Tensor]:
    """Return the activations that the gradient of one call reads."""
    if isinstance(call.layer, LINEAR):
        return []
    if isinstance(call.layer, MAXIMA):
        return [*call.inputs, *call.outputs]
    if _activation_name(call.layer) not in FROM_OUTPUT:
        return call.inputs
    if isinstance(call.layer, COUNTED):
        return [*call.inputs, *call.outputs]
    return call.outputs


def _activation_name(layer: Any) -> str | None:
    """Return the name of the function that ends the layer, None if none does."""
    if isinstance(layer, layers.ReLU):
        return "relu"
    if isinstance(layer, tuple(RECURRENT)):
        return None  # it acts at each step, inside
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", None)
