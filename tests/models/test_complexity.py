"""Costs of layers and models against sums by hand, the traced graph, and TensorFlow's gradient."""

import math
from functools import partial

import keras
import pytest
import tensorflow as tf
from keras import layers

from epochal import models
from epochal.models.blocks import Style
from epochal.models.complexity import (
    model_cost,
    multiply_adds,
    skeleton,
    trainable_params,
    without_values,
)
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.local_response import LocalResponseNormalization
from epochal.models.layers.standardize import Standardize
from epochal.models.layers.weight_norm import (
    WeightNormConv2D,
    WeightNormDense,
    WeightNormDepthwiseConv2D,
)
from epochal.models.residual import Residual

F = 4  # bytes of a float32
FAMILIES = {  # a small member of each, at small images
    "mlp": (28, 28, 1),
    "lenet5": (28, 28, 1),
    "alexnet": (64, 64, 3),
    "alexnet_cifar": (32, 32, 3),
    "vgg11_cifar": (32, 32, 3),
    "vgg19": (32, 32, 3),
    "googlenet_cifar": (8, 8, 3),
    "inception_resnet_cifar": (8, 8, 3),
    "xception_cifar": (8, 8, 3),
    "xception": (71, 71, 3),
    "resnet8": (32, 32, 3),
    "resnet20_v2": (8, 8, 3),
    "resnet50": (32, 32, 3),
    "wrn16_4": (8, 8, 3),
    "resnext29_32x4d": (8, 8, 3),
    "mobilenet_cifar": (32, 32, 3),
    "mobilenet_v2_cifar": (32, 32, 3),
    "mobilenet_v2_035": (32, 32, 3),
    "densenet_40_12": (8, 8, 3),
    "densenet_bc_40_12": (32, 32, 3),
    "inception_v3": (75, 75, 3),
    "lstm": (28, 28, 1),
    "rnn": (28, 28, 1),
}
QUICK = (
    "mlp",
    "lenet5",
    "alexnet",
    "vgg11_cifar",
    "xception_cifar",
    "resnet8",
    "mobilenet_cifar",
    "lstm",
    "rnn",
)


def model_of(*stack, shape=(8, 6, 4)):
    return keras.Sequential([keras.Input(shape), *stack])


def costs_of(*stack, shape=(8, 6, 4), batch_size=1):
    """Of each layer, the input aside."""
    return model_cost(model_of(*stack, shape=shape), batch_size).layers[1:]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv2D(5, 3, padding="same"), 8 * 6 * 9 * 4 * 5),
        (layers.Conv2D(5, 3), 6 * 4 * 9 * 4 * 5),
        (layers.Conv2D(5, (1, 3), strides=2, padding="same"), 4 * 3 * 3 * 4 * 5),
        (layers.Conv2D(6, 3, groups=2, padding="same"), 8 * 6 * 9 * (4 // 2) * 6),
        (layers.Conv2D(5, 3, dilation_rate=2), 4 * 2 * 9 * 4 * 5),
        (layers.Conv2D(5, 3, trainable=False), 6 * 4 * 9 * 4 * 5),
        (WeightNormConv2D(5, 3), 6 * 4 * 9 * 4 * 5),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), 8 * 6 * 9 * 4 * 2),
        (WeightNormDepthwiseConv2D(3, padding="same"), 8 * 6 * 9 * 4),
        (layers.SeparableConv2D(5, 3, padding="same"), 8 * 6 * (9 * 4 + 4 * 5)),
        (layers.SeparableConv2D(5, 3, strides=2, padding="same"), 4 * 3 * (9 * 4 + 4 * 5)),
        (layers.Dense(7), 8 * 6 * 4 * 7),
        (WeightNormDense(7), 8 * 6 * 4 * 7),
        (layers.BatchNormalization(), 0),
        (layers.PReLU(shared_axes=[1, 2]), 0),
        (layers.Conv2DTranspose(5, 3), None),
        (layers.EinsumDense("nhwc,cd->nhwd", (8, 6, 5)), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_multiply_adds_of_one_layer(layer, expected):
    if expected is None:
        with pytest.raises(ValueError, match=f"Cannot count .* {type(layer).__name__}"):
            multiply_adds(model_of(layer))
    else:
        assert multiply_adds(model_of(layer)) == expected


@pytest.mark.parametrize(("kind", "gates"), [(layers.SimpleRNN, 1), (layers.LSTM, 4)])
@pytest.mark.parametrize("steps", [1, 9])
def test_a_recurrent_layer_multiplies_at_each_step_with_the_same_weights(kind, gates, steps):
    (cost,) = costs_of(kind(5), shape=(steps, 3))
    assert cost.multiply_adds == steps * gates * (3 + 5) * 5
    assert cost.params == gates * (3 + 5 + 1) * 5


def test_only_what_training_changes_is_a_parameter():
    frozen = layers.Dense(9, trainable=False)
    model = model_of(Standardize(), layers.Conv2D(5, 3), layers.BatchNormalization(), frozen)
    convolution = 9 * 4 * 5 + 5
    assert trainable_params(model) == convolution + 2 * 5
    cost = model_cost(model)
    assert cost.params == trainable_params(model)
    assert cost.weight_bytes == F * (convolution + 4 * 5 + 6 * 9)


@pytest.mark.parametrize("inner_kind", [keras.Sequential, keras.Model])
def test_a_nested_model_costs_what_its_layers_cost(inner_kind):
    inner = model_of(layers.Flatten(), layers.Dense(3), shape=(8, 6, 5))
    if inner_kind is keras.Model:
        inner = keras.Model(inner.inputs[0], inner.outputs[0])
    whole = model_cost(model_of(layers.Conv2D(5, 1), inner, layers.Dense(2)))
    flat = model_cost(
        model_of(layers.Conv2D(5, 1), layers.Flatten(), layers.Dense(3), layers.Dense(2))
    )
    figures = [
        [(cost.kind, cost.multiply_adds, cost.kept_bytes, cost.live_bytes) for cost in x.layers]
        for x in (whole, flat)
    ]
    assert figures[0] == figures[1]
    assert whole.multiply_adds == 8 * 6 * 4 * 5 + 8 * 6 * 5 * 3 + 3 * 2


def test_a_shared_layer_works_twice_with_one_set_of_weights():
    images = keras.Input((6,))
    shared = layers.Dense(6)
    cost = model_cost(keras.Model(images, shared(shared(images))))
    assert cost.multiply_adds == 2 * 6 * 6
    assert cost.params == 6 * 6 + 6
    assert cost.weight_bytes == F * cost.params
    assert cost.moved_bytes == 2 * F * (6 + 6 + cost.params)


def test_what_is_no_layer_cannot_be_counted():
    images = keras.Input((6,))
    with pytest.raises(ValueError, match="no layer"):
        model_cost(keras.Model(images, keras.ops.matmul(images, keras.ops.transpose(images))))


def test_images_of_any_size_cannot_be_counted():
    with pytest.raises(
        ValueError, match=r"open shape \(None, None, 3\); build the model for images of one size"
    ):
        model_cost(model_of(layers.Conv2D(5, 3), shape=(None, None, 3)))


@pytest.mark.parametrize(
    (
        "layer",
        "kept",
    ),  # the layer's input has 192 numbers, its output 192 unless said otherwise; bytes
    [
        (layers.Conv2D(5, 1), (192 * F, 0)),
        (layers.Conv2D(4, 1, activation="relu"), (192 * F, 192 * F)),
        (layers.Conv2D(4, 1, activation="gelu"), (192 * F, 192 * F)),  # what enters the gelu
        (layers.BatchNormalization(), (192 * F, 0)),
        (layers.ReLU(), (0, 192 * F)),
        (layers.Activation("tanh"), (0, 192 * F)),
        (layers.Activation("silu"), (192 * F, 0)),
        (layers.MaxPooling2D(2), (192 * F, 48 * F)),
        (layers.AveragePooling2D(2), (0, 0)),
        (layers.ZeroPadding2D(1), (0, 0)),
        (layers.Flatten(), (0, 0)),
        (layers.Dropout(0.5), (0, 192)),  # the mask
        (
            layers.SeparableConv2D(9, 3, padding="same", depth_multiplier=2),
            (192 * F, 2 * 192 * F),
        ),  # between the halves
        (LocalResponseNormalization(), (192 * F, 192 * F)),  # the divisor
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_what_a_layer_keeps_for_training(layer, kept):
    # a mean keeps nothing, so that what is kept of its output is the next layer's doing
    before, cost, _ = costs_of(layers.AveragePooling2D(1), layer, layers.Flatten())
    assert (before.kept_bytes, cost.kept_bytes) == kept


@pytest.mark.parametrize(("kind", "numbers"), [(layers.SimpleRNN, 1), (layers.LSTM, 7)])
def test_a_recurrent_layer_keeps_its_steps(kind, numbers):
    (cost,) = costs_of(kind(5), shape=(9, 3), batch_size=2)
    assert cost.kept_bytes == 2 * F * 9 * 5 * numbers


def test_what_several_layers_need_is_kept_once():
    relu, *others = costs_of(layers.ReLU(), layers.Flatten(), layers.Dense(3))
    assert relu.kept_bytes == 192 * F
    assert not any(cost.kept_bytes for cost in others)


def test_live_activations_are_those_still_to_be_read():
    images = keras.Input((10,))
    wide = layers.Dense(30, name="wide")(images)
    thin = layers.Dense(5, name="thin")(wide)
    back = layers.Dense(10, name="back")(thin)
    model = keras.Model(images, layers.Add(name="add")([images, back]))
    cost = model_cost(model)
    live = {layer.name: layer.live_bytes // F for layer in cost.layers[1:]}
    assert live == {"wide": 10 + 30, "thin": 10 + 30 + 5, "back": 10 + 5 + 10, "add": 10 + 10 + 10}
    assert cost.live_bytes == 45 * F
    assert cost.fullest.name == "thin"


def test_views_and_idle_dropout_take_no_memory_and_move_nothing():
    _, flatten, dropout, dense = costs_of(
        layers.ReLU(), layers.Flatten(), layers.Dropout(0.5), layers.Dense(3)
    )
    assert (flatten.live_bytes, dropout.live_bytes, dense.live_bytes) == (192 * F, 192 * F, 195 * F)
    assert flatten.moved_bytes == dropout.moved_bytes == 0


def test_bytes_moved_are_inputs_outputs_and_weights():
    costs = costs_of(
        layers.Conv2D(5, 1),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(3),
        batch_size=7,
    )
    weights = [F * (4 * 5 + 5), F * 4 * 5, 0, F * (240 * 3 + 3)]
    activations = [192 + 240, 240 + 240, 0, 240 + 3]
    assert [cost.moved_bytes for cost in costs] == [
        w + 7 * F * a for w, a in zip(weights, activations, strict=True)
    ]


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "mobilenet_cifar"])
def test_activations_grow_with_the_batch_and_weights_do_not(name):
    one, many = (model_cost(skeleton(name), batch_size) for batch_size in (1, 11))
    assert many.kept_bytes == 11 * one.kept_bytes
    assert many.live_bytes == 11 * one.live_bytes
    assert (many.params, many.multiply_adds, many.weight_bytes) == (
        one.params,
        one.multiply_adds,
        one.weight_bytes,
    )
    reread = sum(cost.weight_bytes for cost in one.layers if cost.moved_bytes)
    assert many.moved_bytes - reread == 11 * (one.moved_bytes - reread)


def test_half_precision_halves_what_is_kept():
    full, half = (
        model_cost(skeleton("resnet8", precision=precision))
        for precision in ("float32", "mixed_bfloat16")
    )
    pooled = (
        64 * 2
    )  # the classifier computes in float32, but keeps the bfloat16 mean that it was given
    assert half.kept_bytes == (full.kept_bytes - 64 * F) // 2 + pooled


def test_a_skeleton_has_no_values_and_leaves_nothing_behind():
    policy = keras.config.dtype_policy()
    model = without_values(
        partial(models.build, "vgg16", (4096, 4096, 3), 10), "mixed_bfloat16"
    )  # 137 GB of weights
    assert trainable_params(model) > 34e9
    assert keras.config.dtype_policy() == policy
    assert layers.Dense(3)(keras.Input((2,))).shape == (
        None,
        3,
    )  # would fill in what waits for a value


def reached(tensors):
    """Every operation that tensors of a TensorFlow graph depend on."""
    found = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        op = waiting.pop()
        if op not in found:
            found.add(op)
            waiting += [tensor.op for tensor in op.inputs]
    return found


def traced_multiply_adds(graph, steps):
    """Multiply-adds in a TensorFlow graph for one image; loops run `steps` times."""
    total = 0
    for op in reached(graph.outputs):
        shapes = [tensor.shape for tensor in (*op.inputs, *op.outputs)]
        if op.type in ("Conv2D", "DepthwiseConv2dNative"):
            total += math.prod(shapes[1]) * math.prod(shapes[-1][1:3])
        elif op.type == "MatMul":
            total += math.prod(shapes[0]) * shapes[-1][-1]
        for attribute, times in (("f", 1), ("body", steps)):
            if attribute in op.node_def.attr:
                inner = graph._get_function(op.get_attr(attribute).name).graph
                total += times * traced_multiply_adds(inner, steps)
    return total


def check_traced(model):
    images = tf.TensorSpec((1, *model.input_shape[1:]), tf.uint8)
    graph = tf.function(lambda x: model(x, training=False)).get_concrete_function(images).graph
    traced = traced_multiply_adds(graph, steps=model.input_shape[1])
    assert traced == multiply_adds(model)


@pytest.mark.parametrize("name", QUICK)
def test_multiply_adds_are_those_of_the_traced_graph(name):
    check_traced(skeleton(name, FAMILIES[name], 10))


@pytest.mark.slow
@pytest.mark.parametrize("name", models.ZOO)
def test_multiply_adds_of_every_row_are_those_of_the_traced_graph(name):
    check_traced(skeleton(name))


def bytes_kept_by_tensorflow(model, batch_size):
    """Of the forward pass' results with a batch axis that TensorFlow's gradient reads."""

    @tf.function
    def both_passes(images):
        logits = model(images, training=True)
        return logits, tf.gradients(logits, [weight.value for weight in model.trainable_weights])

    images = tf.TensorSpec((batch_size, *model.input_shape[1:]), tf.uint8)
    logits, *gradients = both_passes.get_concrete_function(images).graph.outputs
    forward = reached([logits])
    read = {
        origin(tensor)
        for op in reached(gradients) - forward
        for tensor in op.inputs
        if tensor.op in forward
    }
    numbers = [
        tensor
        for tensor in (ref.deref() for ref in read)
        if tensor.dtype in (tf.float32, tf.bool) and (tensor.shape.rank or 0) > 1
    ]
    return sum(
        math.prod(tensor.shape) * tensor.dtype.size
        for tensor in numbers
        if tensor.shape[0] == batch_size
    )


def origin(tensor):
    """The tensor whose memory it shares."""
    while tensor.op.type in ("Reshape", "Identity"):
        tensor = tensor.op.inputs[0]
    return tensor.ref()


class Unpadded(FusedBatchNormalization):
    """As on GPUs: no channels are added that would be kept."""

    cpu_channel_multiple = 1


def without_padded_channels(model):
    def copy_layer(layer):
        layer_class = type(layer)
        if layer_class is FusedBatchNormalization:
            layer_class = Unpadded
        return layer_class.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=copy_layer)


# Left out: what Keras spells out in several operations (local response normalisation, a loop over
# steps), and grouped convolutions, which on CPUs are compiled functions of their own.
WHOLE = [name for name in FAMILIES if name not in ("alexnet", "resnext29_32x4d", "lstm", "rnn")]
TRIED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in WHOLE]


@pytest.mark.parametrize("name", TRIED)
def test_kept_for_training_is_what_tensorflow_keeps(name):
    batch_size = 6  # no kernel has six rows
    model = without_padded_channels(models.build(name, FAMILIES[name], 10))
    assert model_cost(model, batch_size).kept_bytes == bytes_kept_by_tensorflow(model, batch_size)


def test_the_memory_of_vgg_19_lies_in_its_first_feature_maps():
    """Outputs of every ReLU and maximum, the image, and two hidden layers with masks of bytes."""
    maps = [(224, 64, 2), (112, 128, 2), (56, 256, 4), (28, 512, 4), (14, 512, 4)]
    analytic = sum(
        F * side * side * channels * count + F * (side // 2) ** 2 * channels
        for side, channels, count in maps
    )
    hidden = 2 * (4096 * F + 4096 * F + 4096)
    cost = model_cost(skeleton("vgg19"))
    assert cost.kept_bytes == F * 224 * 224 * 3 + analytic + hidden
    first, second, *others = sorted(cost.layers, key=lambda layer: -layer.kept_bytes)
    assert {first.name, second.name} == {"block1_conv1", "block1_conv2"}
    assert first.kept_bytes == second.kept_bytes == F * 224 * 224 * 64 == 2 * others[0].kept_bytes


def test_a_stem_that_divides_the_sides_by_four_saves_sixteen_times_the_memory_behind_it():
    stages = [
        [
            cost.kept_bytes
            for cost in model_cost(skeleton(name, (64, 64, 3), 10)).layers
            if "stage1" in cost.name
        ]
        for name in ("resnet18_cifar", "resnet18")
    ]
    assert sum(stages[0]) == 16 * sum(stages[1]) > 0


@pytest.mark.parametrize(("bottleneck", "squares"), [(False, 18), (True, 17 / 16)])
@pytest.mark.parametrize("width", [16, 64])
def test_a_residual_block_of_width_d_has_18_or_17_sixteenths_d_squared_weights(
    bottleneck, squares, width
):
    images = keras.Input((8, 8, width))
    block = Residual(style=Style(norm="none", bias=False), bottleneck=bottleneck)
    model = keras.Model(
        images, block(images, width // 4 if bottleneck else width, width, stride=1, name="block")
    )
    assert multiply_adds(model) == squares * width**2 * 8 * 8


def test_a_recurrent_network_has_as_many_parameters_at_any_height():
    costs = [model_cost(skeleton("rnn", (height, 28, 1), 10)) for height in (7, 28)]
    assert costs[0].params == costs[1].params
    assert costs[1].multiply_adds - 1280 == 4 * (costs[0].multiply_adds - 1280)


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "weight_mean", "normprop", "none"])
def test_a_normalisation_changes_no_multiply_adds(norm):
    assert multiply_adds(skeleton("resnet8", options={"norm": norm})) == multiply_adds(
        skeleton("resnet8")
    )
