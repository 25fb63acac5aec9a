"""What a model costs, layer by layer: parameters, multiply-adds, memory of activations, bytes moved.

Everything follows from shapes: weights need no values (`without_values`) and nothing is run. The definitions:

- *Parameters* are the numbers that training changes; batch norm's moving statistics are not among them.
- *Multiply-adds* are those of convolutions, dense and recurrent layers for one image: `k^2 C_in C_out H W / groups`,
  `C_in C_out`, `steps (inputs + units) units` (four times that in an LSTM). Papers often call them FLOPs, of which a
  multiply-add strictly is two. Biases, normalisation, activations and pooling are left out.
- *Kept for training* are the activations that the backward pass reads, each once, at the layer that makes it: the input
  of a layer with a kernel and of batch norm, the output of ReLU and tanh, both of a maximum, a byte of mask for each
  element of a dropout, and nothing of what is linear without weights: additions, padding, means. Of other layers it is
  the input. A layer counts as one operation: what Keras' code keeps on top of that where it spells one out in several
  (layer normalisation, local response normalisation) is left out, and so are the channels that batch norm adds on
  CPUs to reach a multiple of 16.
- *Live at inference* while a layer runs are its inputs, its outputs and whatever a later layer will read. Layers run in
  Keras' order, an activation is freed after its last reader, and nothing is computed in place.
- *Bytes moved* at inference: each layer reads its inputs and its weights, and writes its outputs, once.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras

from epochal.models import ZOO, build
from epochal.models.cost_rules import Call, Trace, itemsize, kept, kept_inside, live
from epochal.models.cost_rules import multiply_adds as of_call

SIZES = Path(__file__).with_name(
    "sizes.json"
)  # the zoo's figures, for those who cannot wait for ninety models


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One call of a layer. Bytes of activations are those of the whole batch, multiply-adds those of one image."""

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
        """Trainable ones."""
        return sum(layer.params for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """For one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def kept_bytes(self) -> int:
        """Of the activations that the backward pass reads."""
        return sum(layer.kept_bytes for layer in self.layers)

    @property
    def fullest(self) -> LayerCost:
        """The layer during which the most activations are live at inference."""
        return max(self.layers, key=lambda layer: layer.live_bytes)

    @property
    def live_bytes(self) -> int:
        """The most activations that are live together at inference."""
        return self.fullest.live_bytes

    @property
    def moved_bytes(self) -> int:
        """Read and written at inference."""
        return sum(layer.moved_bytes for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Of all weights, moving statistics included."""
        return sum(layer.weight_bytes for layer in self.layers)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `epochal models` says about a row of the zoo, at its native images and classes."""

    name: str
    params: int  # trainable
    multiply_adds: int  # for one image
    input_shape: tuple[int, ...]
    num_classes: int


def model_cost(model: keras.Model, batch_size: int = 1) -> ModelCost:
    """Returns what a functional model of layers costs, as the top of this file defines it.

    Raises:
        ValueError: a layer holds a kernel but is of a kind that is not counted, or the images' size is open.
    """
    trace = Trace(batch_size)
    outputs = trace.run(model)
    needed = kept(trace.calls)
    seen = set[int]()
    costs = []
    for call, live_bytes in zip(trace.calls, live(trace.calls, outputs), strict=True):
        first = id(call.layer) not in seen
        seen.add(id(call.layer))
        kept_bytes = kept_inside(call) + sum(
            tensor.bytes for tensor in call.outputs if tensor in needed
        )
        costs.append(_layer_cost(call, first, kept_bytes, live_bytes))
    shape = tuple(model.input_shape[1:])
    return ModelCost(name=model.name, input_shape=shape, batch_size=batch_size, layers=tuple(costs))


def _layer_cost(call: Call, first: bool, kept_bytes: int, live_bytes: int) -> LayerCost:
    """Its weights belong to the `first` call of a layer; every call reads them."""
    layer = call.layer
    weights = _bytes(call.layer.weights)
    moved = weights + sum(tensor.bytes for tensor in (*call.inputs, *call.outputs))
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=call.outputs[0].shape,
        params=first * _numbers(layer.trainable_weights),
        multiply_adds=of_call(call),
        kept_bytes=kept_bytes,
        live_bytes=live_bytes,
        moved_bytes=0 if call.idle else moved,
        weight_bytes=first * weights,
    )


def trainable_params(model: keras.Model) -> int:
    """Returns how many numbers training changes; batch norm's moving statistics are not among them."""
    return _numbers(model.trainable_weights)


def multiply_adds(model: keras.Model) -> int:
    """Returns the multiply-adds of a functional model for one image.

    Raises:
        ValueError: as `model_cost`.
    """
    return model_cost(model).multiply_adds


def _numbers(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _bytes(weights: Iterable[Any]) -> int:
    return sum(math.prod(weight.shape) * itemsize(weight) for weight in weights)


def without_values(make: Callable[[], keras.Model], precision: str = "float32") -> keras.Model:
    """Returns the model that `make` builds under the dtype policy `precision`, its weights without values.

    That takes no memory and little time. Keras lists weights without values, for each thread apart, and fills them in
    when that thread builds its next model: hence a thread of its own, which leaves the caller's policy alone, too.
    """

    def build_it() -> keras.Model:
        keras.config.set_dtype_policy(precision)
        with keras.StatelessScope(initialize_variables=False):
            return make()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build_it).result()


def skeleton(
    name: str,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    precision: str = "float32",
) -> keras.Model:
    """Returns the model `name` without values in its weights, by default for the zoo's native images and classes.

    Raises:
        ValueError: as `build`.
    """
    native = ZOO.get(
        name, ZOO["softmax"]
    )  # of an unknown name `build` complains, whatever the shape
    shape = native.input_shape if input_shape is None else input_shape
    classes = native.num_classes if num_classes is None else num_classes
    return without_values(lambda: build(name, shape, classes, options=options), precision)


def describe(name: str) -> Description:
    """Measures the row `name` of the zoo."""
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
    """Writes what `describe` says about every row of the zoo, a line each; a test compares it with the models."""
    lines = [json.dumps(asdict(describe(name))) for name in ZOO]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    write_sizes()
