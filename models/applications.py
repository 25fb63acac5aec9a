"""Networks from `keras.applications`, exactly as published: its weights files fit them.

`models.weights` loads such files.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from epochal.models import initializers
from epochal.models.blocks import Style, depthwise_dtype, synchronized
from epochal.models.heads import classifier, hidden_layers, pooled_classifier
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.dropout import PerSampleDropout
from epochal.models.layers.stochastic_depth import StochasticDepth


def application(
    x: keras.KerasTensor,
    num_classes: int,
    style: Style,
    *,
    network: Callable[..., keras.Model],
    hidden: tuple[int, ...] = (),
    **options: Any,
) -> keras.KerasTensor:
    """Return logits `[N, num_classes]` of Keras' network with our batch norm and classifier.

    Initial weights are ours, too (`initializers`).

    Args:
        network: from `keras.applications`.
        hidden: units of dense layers before the logits, each followed by dropout; where there is
            none, each channel is averaged over the image.
        options: of the network, such as `alpha`.
    """
    shape = tuple(x.shape[1:])
    body = network(
        include_top=False,
        weights=None,
        input_shape=shape,
        **options,
    )
    x = _rebuild(body, x)
    if not hidden:
        return pooled_classifier(x, num_classes)
    x = hidden_layers(x, hidden, style=style)
    return classifier(x, num_classes, initializer=initializers.small())


def _rebuild(body: keras.Model, x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply copies of the network's layers to `x`, one by one, as our own builders do."""
    outputs = []
    counts = Counter[str]()

    def copy_layer(layer: Any) -> Any:
        prefix = name_prefix(type(layer))
        if not re.fullmatch(rf"{prefix}(_\d+)?", layer.name):
            return _convert(layer, layer.name)
        # Keras numbered it by what the process had built before: number it by its place
        counts[prefix] += 1
        return _convert(layer, f"{prefix}_{counts[prefix]}")

    def call_layer(layer: Any, *inputs: Any, **options: Any) -> Any:
        output = layer(*inputs, **options)
        outputs.append(output)
        return output

    keras.models.clone_model(
        body, input_tensors=x, clone_function=copy_layer, call_function=call_layer
    )
    return outputs[-1]


def name_prefix(layer_class: type) -> str:
    """Return what Keras' default names of this class begin with.

    Those of SeparableConv2D begin with `separable_conv2d`.
    """
    name = layer_class.__name__
    # an underscore before a capital that a small letter follows, then between small and capital
    name = re.sub(r"(?<=.)(?=[A-Z][a-z])", "_", name)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return name.lower()


def _convert(layer: Any, name: str) -> Any:
    """Return the layer with our batch norm and dropout, initial weights and `depthwise_dtype`."""
    if isinstance(layer, layers.Dropout):
        dropout = StochasticDepth if layer.noise_shape else PerSampleDropout
        return dropout(layer.rate, name=name)
    config = layer.get_config()
    config["name"] = name
    layer_class = type(layer)
    if layer_class is layers.BatchNormalization:
        layer_class = FusedBatchNormalization
        config["synchronized"] = synchronized()
    if "kernel_initializer" in config:
        config["kernel_initializer"] = initializers.msra()
    elif "pointwise_initializer" in config:
        config["pointwise_initializer"] = initializers.msra()
    if "depthwise_initializer" in config:
        config["depthwise_initializer"] = initializers.msra(depthwise=True)
    if layer_class is layers.DepthwiseConv2D:
        dtype = depthwise_dtype(max(layer.strides))
        if dtype is not None:
            config["dtype"] = dtype
    return layer_class.from_config(config)
