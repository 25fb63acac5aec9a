"""Networks that `keras.applications` has exactly as published, so that its weights files fit (`models.weights`)."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import (
    Style,
    classifier,
    depthwise_dtype,
    hidden_layers,
    pooled_classifier,
    synchronized,
)
from epochal.models.layers.batch_norm import FusedBatchNormalization


def application(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    network: Callable[..., keras.Model],
    hidden: tuple[int, ...] = (),
    **options: Any,
) -> keras.KerasTensor:
    """Returns logits `[N, num_classes]` of Keras' network, with our batch norm, initial weights and classifier.

    Args:
        network: from `keras.applications`.
        hidden: units of dense layers before the logits, each followed by dropout; where there is none, each channel is
            averaged over the image.
        options: of the network, such as `alpha`.
    """
    x = _rebuilt(
        network(include_top=False, weights=None, input_shape=tuple(x.shape[1:]), **options), x
    )
    if not hidden:
        return pooled_classifier(x, num_classes)
    return classifier(
        hidden_layers(x, hidden, style=style), num_classes, initializer=initializers.small()
    )


def _rebuilt(body: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """The network's layers again, one by one on `x`, as our own would be."""
    outputs = []
    counts = Counter[str]()

    def ours(layer: Any) -> Any:
        kind = kind_name(type(layer))
        if not re.fullmatch(rf"{kind}(_\d+)?", layer.name):
            return _ours(layer, layer.name)
        counts[kind] += 1  # Keras numbered it by what the process had made before
        return _ours(layer, f"{kind}_{counts[kind]}")

    def add(layer: Any, *inputs: Any, **options: Any) -> Any:
        outputs.append(layer(*inputs, **options))
        return outputs[-1]

    keras.models.clone_model(body, input_tensors=x, clone_function=ours, call_function=add)
    return outputs[-1]


def kind_name(kind: type) -> str:
    """Returns a layer's kind as Keras writes it in names: SeparableConv2D is separable_conv2d."""
    return re.sub(
        r"(?<=[a-z])(?=[A-Z])", "_", re.sub(r"(?<=.)(?=[A-Z][a-z])", "_", kind.__name__)
    ).lower()


def _ours(layer: Any, name: str) -> Any:
    """The layer with fused batch norm, with MSRA weights, and in the precision of `depthwise_dtype`."""
    config = {**layer.get_config(), "name": name}
    kind = type(layer)
    if kind is layers.BatchNormalization:
        kind = FusedBatchNormalization
        config["synchronized"] = synchronized()
    if "kernel_initializer" in config or "pointwise_initializer" in config:
        key = "kernel_initializer" if "kernel_initializer" in config else "pointwise_initializer"
        config[key] = initializers.msra()
    if "depthwise_initializer" in config:
        config["depthwise_initializer"] = initializers.msra(depthwise=True)
    if kind is layers.DepthwiseConv2D and (dtype := depthwise_dtype(max(layer.strides))):
        config["dtype"] = dtype
    return kind.from_config(config)
