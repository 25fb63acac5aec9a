"""Costs of a model, layer by layer: parameters, multiply-adds, memory of activations, bytes moved.

Everything follows from shapes: weights need no values (`without_values`) and nothing is run. The
definitions:

- *Parameters* are the numbers that training changes; batch norm's moving statistics are not among
  them.
- *Multiply-adds* are those of convolutions, dense and recurrent layers for one image:
  `k^2 C_in C_out H W / groups`, `C_in C_out`, `steps (inputs + units) units` (four times that in an
  LSTM). Papers often call them FLOPs, of which a multiply-add strictly is two. Biases,
  normalisation, activations and pooling are left out.
- *Kept for training* are the activations that the backward pass reads, each once, at the layer that
  makes it: the input of a layer with a kernel and of batch norm, the output of ReLU and tanh, both
  of a maximum, a byte of mask for each element of a dropout, and nothing of what is linear without
  weights: additions, padding, means. Of other layers it is the input. A layer counts as one
  operation: what Keras' code keeps on top of that where it spells one out in several (layer
  normalisation, local response normalisation) is left out, and so are the channels that batch norm
  adds on CPUs to reach a multiple of 16.
- *Live at inference* while a layer runs are its inputs, its outputs and whatever a later layer will
  read. Layers run in Keras' order, an activation is freed after its last reader, and nothing is
  computed in place.
- *Bytes moved* at inference: each layer reads its inputs and its weights, and writes its outputs,
  once.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras

from epochal.models import ZOO, build
from epochal.models.cost_rules import (
    Call,
    Trace,
    bytes_kept_inside,
    find_kept_tensors,
    itemsize,
    live_bytes_by_call,
    multiply_adds_of_call,
)

# the zoo's figures, for those who cannot wait until ninety models are built
SIZES = Path(__file__).with_name("sizes.json")


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """The costs of one call of a layer.

    Bytes of activations are those of the whole batch, multiply-adds those of one image.
    """

    name: str
    kind: str  # its class
    output_shape: tuple[int, ...]  # for one image
    params: int  # trainable
    multiply_adds: int
    kept_bytes: int  # of its outputs and inside it, for training
    live_bytes: int  # of all activations while it runs at inference
    moved_bytes: int  # at inference
    weight_bytes: int  # moving statistics included


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """All calls of layers in the order in which they run, and their sums."""

    name: str
    input_shape: tuple[int, ...]
    batch_size: int
    layers: tuple[LayerCost, ...]

    @property
    def params(self) -> int:
        """Return the number of trainable parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds for one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        """Return the bytes of the activations that the backward pass reads."""
        return sum(layer.kept_bytes for layer in self.layers)

    @property
    def fullest(self) -> LayerCost:
        """Return the layer during which the most activations are live at inference."""
        return max(self.layers, key=lambda layer: layer.live_bytes)

    @property
    def live_bytes(self) -> int:
        """Return the bytes of the most activations that are live together at inference."""
        return self.fullest.live_bytes

    @property
    def moved_bytes(self) -> int:
        """Return the bytes read and written at inference."""
        return sum(layer.moved_bytes for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Return the bytes of all weights, moving statistics included."""
        return sum(layer.weight_bytes for layer in self.layers)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The figures of a row of the zoo, at its native images and classes, as the list shows them."""

    name: str
    params: int  # trainable
    multiply_adds: int  # for one image
    input_shape: tuple[int, ...]
    num_classes: int


def model_cost(model: keras.Model, batch_size: int = 1) -> ModelCost:
    """Return the costs of a functional model of layers, as the top of this file defines them.

    Raises:
        ValueError: a layer holds a kernel but is of a class that is not counted, or the images'
            size is open.
    """
    trace = Trace(batch_size)
    outputs = trace.run(model)
    kept_tensors = find_kept_tensors(trace.calls)
    seen = set[int]()
    costs = []
    for call, live_bytes in zip(
        trace.calls,
        live_bytes_by_call(trace.calls, outputs),
        strict=True,
    ):
        kept_bytes = bytes_kept_inside(call)
        for tensor in call.outputs:
            if tensor in kept_tensors:
                kept_bytes += tensor.bytes
        is_first_call = id(call.layer) not in seen
        seen.add(id(call.layer))
        costs.append(
            _layer_cost(
                call,
                is_first_call,
                kept_bytes,
                live_bytes,
            )
        )
    shape = tuple(model.input_shape[1:])
    return ModelCost(
        name=model.name,
        input_shape=shape,
        batch_size=batch_size,
        layers=tuple(costs),
    )


def _layer_cost(call: Call, is_first_call: bool, kept_bytes: int, live_bytes: int) -> LayerCost:
    """Return the cost of a call.

    A layer's weights count at its first call; every call reads them.
    """
    layer = call.layer
    params = 0
    weight_bytes = 0
    if is_first_call:
        params = _count_numbers(layer.trainable_weights)
        weight_bytes = _count_bytes(layer.weights)
    moved_bytes = 0
    if not call.idle:
        moved_bytes = _count_bytes(layer.weights)
        moved_bytes += sum(tensor.bytes for tensor in call.inputs)
        moved_bytes += sum(tensor.bytes for tensor in call.outputs)
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=call.outputs[0].shape,
        params=params,
        multiply_adds=multiply_adds_of_call(call),
        kept_bytes=kept_bytes,
        live_bytes=live_bytes,
        moved_bytes=moved_bytes,
        weight_bytes=weight_bytes,
    )


def trainable_params(model: keras.Model) -> int:
    """Return how many numbers training changes.

    Batch norm's moving statistics are not among them.
    """
    return _count_numbers(model.trainable_weights)


def multiply_adds(model: keras.Model) -> int:
    """Return the multiply-adds of a functional model for one image.

    Raises:
        ValueError: as `model_cost`.
    """
    return model_cost(model).multiply_adds


def _count_numbers(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _count_bytes(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) * itemsize(weight) for weight in weights)


def without_values(make: Callable[[], keras.Model], precision: str = "float32") -> keras.Model:
    """Return the model that `make` builds, weights without values.

    It is built under the dtype policy `precision`. That takes no memory and little time. Keras
    lists weights without values, for each thread apart, and fills them in when that thread builds
    its next model: hence a separate thread, which leaves the caller's policy alone, too.
    """

    def make_without_values() -> keras.Model:
        keras.config.set_dtype_policy(precision)
        with keras.StatelessScope(initialize_variables=False):
            return make()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make_without_values).result()


def skeleton(
    name: str,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> keras.Model:
    """Return the model `name` without values in its weights.

    By default it is for the zoo's native images and classes.

    Raises:
        ValueError: as `build`.
    """
    # `build` complains about an unknown name, whatever the shape
    row = ZOO.get(name, ZOO["softmax"])
    if input_shape is None:
        input_shape = row.input_shape
    if num_classes is None:
        num_classes = row.num_classes
    make = partial(
        build,
        name,
        input_shape,
        num_classes,
        options=options,
    )
    return without_values(make, precision)


def describe(name: str) -> Description:
    """Return the figures of the row `name` of the zoo, measured on its model."""
    model = skeleton(name)
    row = ZOO[name]
    return Description(
        name=name,
        params=trainable_params(model),
        multiply_adds=multiply_adds(model),
        input_shape=row.input_shape,
        num_classes=row.num_classes,
    )


def write_sizes(path: Path = SIZES) -> None:
    """Write the description of every row of the zoo, a line each.

    A test compares the file with the models.
    """
    lines = [json.dumps(asdict(describe(name))) for name in ZOO]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    write_sizes()
