"""The calls of layers in a model, and what one kind of layer or another means for them; see `complexity`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any

import keras
from keras import layers

from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.local_response import LocalResponseNormalization
from epochal.models.layers.shortcut import Shortcut
from epochal.models.layers.standardize import Standardize

RECURRENT = {
    layers.SimpleRNN: 1,
    layers.LSTM: 7,
}  # numbers a unit keeps of each step, as TensorFlow's LSTM block does
COUNTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense, *RECURRENT)
VIEWS = (layers.Flatten, layers.Reshape)  # the same numbers in the same place
DROPOUTS = (PerSampleDropout, layers.Dropout)  # in training, that is: at inference they do nothing
MAXIMA = (layers.MaxPooling2D, layers.GlobalMaxPooling2D)
LINEAR = (  # their gradient reads no activation, a dropout's mask apart
    *(
        layers.InputLayer,
        Standardize,
        Shortcut,
        layers.ZeroPadding2D,
        layers.Add,
        layers.Concatenate,
        layers.Rescaling,
    ),
    *(*VIEWS, *DROPOUTS, layers.AveragePooling2D, layers.GlobalAveragePooling2D),
)
FROM_OUTPUT = (
    "relu",
    "relu6",
    "tanh",
    "sigmoid",
    "elu",
    "selu",
    "softmax",
)  # their gradient reads the output


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation: the shape for one image, elements and bytes for the batch."""

    shape: tuple[int, ...]
    elements: int
    bytes: int


@dataclass(frozen=True, eq=False)
class Call:
    """A layer at work."""

    layer: Any
    inputs: list[Tensor]
    outputs: list[Tensor]

    @property
    def idle(self) -> bool:
        """Whether it neither reads nor writes at inference."""
        return isinstance(self.layer, (*VIEWS, *DROPOUTS, layers.InputLayer))


@dataclass(frozen=True)
class Trace:
    """All calls in a model for a batch, in the order in which Keras makes them."""

    batch_size: int
    calls: list[Call] = field(default_factory=list)

    def run(self, model: Any, inputs: Sequence[Tensor] = ()) -> list[Tensor]:
        """Appends the calls in `model`, those of a nested one in its place, and returns the model's outputs.

        Raises:
            ValueError: something that is no layer takes part, or a shape is open.
        """
        graph = getattr(model, "_functional", None) or model  # a Sequential holds one
        known = dict(zip(map(id, graph.inputs), inputs, strict=False))
        for depth in sorted(
            graph._nodes_by_depth, reverse=True
        ):  # Keras has no public way to the graph
            for node in graph._nodes_by_depth[depth]:
                if id(node.outputs[0]) not in known:
                    made = self._made(node, [known[id(symbol)] for symbol in node.input_tensors])
                    known.update(zip(map(id, node.outputs), made, strict=True))
        return [known[id(symbol)] for symbol in graph.outputs]

    def _made(self, node: Any, inputs: list[Tensor]) -> list[Tensor]:
        layer = node.operation
        if isinstance(layer, keras.Model):
            return self.run(layer, inputs)
        if not isinstance(layer, layers.Layer):
            raise ValueError(
                f"Cannot count {layer.name!r}, which is no layer; put the operation into one."
            )
        call = Call(layer, inputs, [self._tensor(layer.name, symbol) for symbol in node.outputs])
        self.calls.append(call)
        return call.outputs

    def _tensor(self, name: str, symbol: Any) -> Tensor:
        shape = tuple(symbol.shape[1:])
        if None in shape:
            raise ValueError(
                f"Cannot count {name!r} at the open shape {shape}; build the model for images of one size."
            )
        elements = self.batch_size * math.prod(shape)
        return Tensor(shape, elements, elements * itemsize(symbol))


def itemsize(array: Any) -> int:
    """Bytes of a number of a weight or symbolic tensor: 2 of `bfloat16`."""
    name = keras.backend.standardize_dtype(array.dtype)
    return 1 if name == "bool" else int(name.lstrip(ascii_lowercase)) // 8


def multiply_adds(call: Call) -> int:
    """Of a convolution, dense or recurrent layer for one image; else 0.

    Raises:
        ValueError: the layer holds a matrix or kernel but is of a kind that is not counted here.
    """
    layer = call.layer
    if not isinstance(layer, COUNTED):
        if any(len(weight.shape) > 1 for weight in layer.weights) and not isinstance(
            layer, layers.PReLU
        ):
            raise ValueError(
                f"Cannot count the multiply-adds of {layer.name!r}, a {type(layer).__name__}."
            )
        return 0
    # each position or step meets every number of the kernels once, in grouped convolutions too
    recurrent = isinstance(layer, tuple(RECURRENT))
    positions = call.inputs[0].shape[0] if recurrent else math.prod(call.outputs[0].shape[:-1])
    return positions * sum(
        math.prod(weight.shape) for weight in layer.weights if weight.name.endswith("kernel")
    )


def kept(calls: Sequence[Call]) -> set[Tensor]:
    """The activations that the backward pass reads, each where it was made."""
    origin = _origins(calls, VIEWS)
    return {origin[tensor] for call in calls for tensor in _needed(call)}


def kept_inside(call: Call) -> int:
    """Bytes of activations that the backward pass reads and that never leave the layer."""
    layer = call.layer
    result = call.outputs[0]
    if isinstance(layer, DROPOUTS):
        return result.elements  # a byte of mask for each
    if isinstance(layer, LocalResponseNormalization):
        return result.bytes  # what the input is divided by
    if isinstance(layer, layers.SeparableConv2D):
        return (
            result.bytes // result.shape[-1] * call.inputs[0].shape[-1] * layer.depth_multiplier
        )  # between its two halves
    for kind, numbers in RECURRENT.items():
        if isinstance(layer, kind):
            return (
                numbers
                * call.inputs[0].shape[0]
                * layer.units
                * (result.bytes // math.prod(result.shape))
            )
    fused = isinstance(layer, COUNTED) and _nonlinearity(layer) not in ("linear", *FROM_OUTPUT)
    return result.bytes if fused else 0  # what enters the non-linearity


def live(calls: Sequence[Call], outputs: Iterable[Tensor]) -> list[int]:
    """Bytes of the activations that exist while each call runs, every one freed after its last reader."""
    origin = _origins(calls, (*VIEWS, *DROPOUTS))
    last = {origin[x]: i for i, call in enumerate(calls) for x in (*call.inputs, *call.outputs)}
    last.update((origin[tensor], len(calls)) for tensor in outputs)
    alive: set[Tensor] = set()
    sums = []
    for i, call in enumerate(calls):
        alive |= {origin[tensor] for tensor in call.outputs}
        sums.append(sum(tensor.bytes for tensor in alive))
        alive = {tensor for tensor in alive if last[tensor] > i}
    return sums


def _origins(calls: Sequence[Call], views: tuple[type, ...]) -> dict[Tensor, Tensor]:
    """Of every activation the one whose memory it shares: itself, except behind `views`."""
    origin: dict[Tensor, Tensor] = {}
    for call in calls:
        seen = isinstance(call.layer, views)
        origin.update(
            (tensor, origin[call.inputs[0]] if seen else tensor) for tensor in call.outputs
        )
    return origin


def _needed(call: Call) -> list[Tensor]:
    """What the gradient of one call reads."""
    if isinstance(call.layer, LINEAR):
        return []
    if isinstance(call.layer, MAXIMA):
        return [*call.inputs, *call.outputs]
    from_output = _nonlinearity(call.layer) in FROM_OUTPUT
    reads_input = isinstance(call.layer, COUNTED) or not from_output
    return [*(call.inputs if reads_input else []), *(call.outputs if from_output else [])]


def _nonlinearity(layer: Any) -> str | None:
    """The name of the function that ends the layer, if one does."""
    if isinstance(layer, layers.ReLU):
        return "relu"
    if isinstance(layer, tuple(RECURRENT)):
        return None  # it acts at each step, inside
    return getattr(getattr(layer, "activation", None), "__name__", None)
