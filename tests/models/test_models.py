"""One contract for every model of the zoo."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from epochal import models
from epochal.models.complexity import trainable_params
from tests.support.zoo import (
    LARGE,
    PARAMS,
    SMALLER_KIN,
    UNTRIED,
    build,
    images,
    layers_and_what_they_follow,
    names,
    shapes,
)

every_model = pytest.mark.parametrize("name", names())
BY_HEART = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("mlp", "rnn", "lstm", "alexnet_cifar", "resnet20_v2")
]
STYLED = ["mlp", "lenet5", "resnet8", "resnet20_v2", "mobilenet_v2_cifar", "densenet_bc_40_12"]
COUNTED = [
    pytest.param(name, marks=pytest.mark.slow) if count > LARGE else name
    for name, count in PARAMS.items()
]


@pytest.fixture
def precision(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def test_every_model_has_its_size_on_record():
    assert set(PARAMS) == set(models.ZOO)


@pytest.mark.parametrize("name", COUNTED)
def test_size(name):
    architecture = models.ZOO[name]
    with keras.StatelessScope():  # no weight gets a value: faster
        model = models.build(name, architecture.input_shape, architecture.num_classes)
    assert trainable_params(model) == PARAMS[name]


@every_model
@pytest.mark.parametrize("shape", [0, 1], ids=["grey", "colour"])
def test_logits_are_finite_and_every_trainable_weight_gets_a_gradient(name, shape):
    check_logits_and_gradients(name, shapes(name)[shape])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SMALLER_KIN if name not in UNTRIED])
def test_depth_and_width_leave_logits_finite_and_every_weight_its_gradient(name):
    check_logits_and_gradients(name, shapes(name)[1])


def check_logits_and_gradients(name, shape):
    model = build(name, shape)
    made = (
        model.name,
        model.input.name,
        model.input.dtype,
        model.layers[1].name,
        model.layers[-1].name,
    )
    assert made == (name, "image", "uint8", "standardize", "logits")
    assert np.isfinite(model(images(shape))).all()
    with tf.GradientTape() as tape:
        logits = model(images(shape), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2, 3], logits))
    assert (logits.shape, logits.dtype) == ((4, 5), tf.float32)
    assert np.isfinite(logits).all()
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(gradient), weight.path


@pytest.mark.parametrize(
    "name",
    [
        name if name == "resnet14" else pytest.param(name, marks=pytest.mark.slow)
        for name in SMALLER_KIN
    ],
)
def test_kin_have_the_same_layers(name):
    """So that what depth and width do not change need not be tried on both."""
    assert layers_and_what_they_follow(name) <= layers_and_what_they_follow(SMALLER_KIN[name])


@every_model
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_mixed_precision_computes_low_and_answers_in_float32(name, precision):
    model = build(name)
    logits = model(images(shapes(name)[0]), training=True)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model.get_layer("standardize").compute_dtype == precision.removeprefix("mixed_")


@every_model
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_float64_is_kept_to_the_end(name, precision):
    model = build(name)
    assert model(images(shapes(name)[0])).dtype == tf.float64
    assert {weight.dtype for weight in model.trainable_weights} == {"float64"}


@every_model
def test_layers_and_model_come_back_from_their_configuration(name):
    model = build(name)
    for layer in model.layers:
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config
    twin = keras.Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    batch = images(shapes(name)[0])
    np.testing.assert_array_equal(twin(batch), model(batch))


@every_model
def test_variables_have_the_same_distinct_paths_in_every_build(name):
    # Keras' recurrent cells make a generator for dropout, used or not, and number it by what the
    # process made before
    mine = [build(name).variables, build(name).variables]
    first, second = (
        [v.path for v in made if not v.path.startswith("seed_generator")] for made in mine
    )
    assert first == second
    assert len(set(first)) == len(first)


@every_model
def test_a_seed_decides_weights_and_masks(name):
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        results.append(build(name)(images(shapes(name)[0]), training=True).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert name == "softmax" or (results[0] != results[2]).any()


@every_model
def test_an_image_may_come_in_any_type_and_alone(name):
    model = build(name)
    batch = images(shapes(name)[0])
    together = model(batch)
    np.testing.assert_array_equal(model(batch.astype(np.float32)), together)
    # Deep untrained networks answer in the thousands; what rounding leaves there is seen in the
    # smallest logit, too.
    size = max(1.0, np.abs(together).max())
    np.testing.assert_allclose(model(batch[1:2]) / size, together[1:2] / size, rtol=1e-4, atol=1e-5)


@every_model
@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # of Keras' own variables
def test_weights_come_back_from_a_file(name, tmp_path):
    model = build(name)
    twin = build(name)
    model.save_weights(tmp_path / "a.weights.h5")
    twin.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(twin(images(shapes(name)[0])), model(images(shapes(name)[0])))


@pytest.mark.parametrize("name", names(["lenet5", "resnet8", "mobilenet_025"]))
def test_saved_model_answers_like_the_model(name, tmp_path):
    model = build(name)
    model.export(tmp_path, verbose=False)
    served = tf.saved_model.load(tmp_path)
    for count in (3, 1):
        batch = images(shapes(name)[0], count)
        expected = model(batch)
        np.testing.assert_allclose(
            served.serve(batch), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )


@pytest.mark.parametrize("name", names(["lenet5", "resnet8", "mobilenet_025"]))
def test_no_operation_is_left_to_xla(name):
    """As Keras leaves grouped convolutions, on CPUs hundreds of times slower to train."""
    assert not compiled_by_xla(build(name))


def test_grouped_convolutions_of_keras_are_left_to_xla():
    images = keras.Input((8, 8, 4))
    convolution = keras.layers.Conv2D(4, 3, groups=2)
    assert compiled_by_xla(keras.Model(images, convolution(images)))


def compiled_by_xla(model):
    """The operations of a training step that call functions which XLA must compile."""

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(batch, training=True) ** 2)
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    batch = tf.TensorSpec((4, *model.input_shape[1:]), model.inputs[0].dtype)
    operations = step.get_concrete_function(batch).graph.get_operations()
    return [operation for operation in operations if must_compile(operation)]


def must_compile(operation):
    attribute = operation.node_def.attr.get("_XlaMustCompile")
    return attribute is not None and attribute.b


@pytest.mark.parametrize(
    "name", ["lenet5", pytest.param("resnet8", marks=pytest.mark.slow), *BY_HEART]
)
def test_small_models_learn_32_random_labels_by_heart(name):
    keras.utils.set_random_seed(0)
    shape = shapes(name)[0]
    model = build(name, shape, 4)
    labels = np.arange(32) % 4
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    model.optimizer.learning_rate = 3e-3
    history = model.fit(images(shape, 32), labels, epochs=60, batch_size=32, verbose=0)
    assert history.history["loss"][-1] < 0.1, history.history["loss"][::10]


# a norm and an activation of choice


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "weight_mean", "normprop", "none"])
@pytest.mark.parametrize("name", STYLED)
def test_every_norm_trains(name, norm):
    activation = {"activation": "relu"} if norm == "normprop" else {}
    model = build(name, norm=norm, **activation)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(images(shapes(name)[0]), training=True) ** 2)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    kinds = {type(layer).__name__ for layer in model.layers}
    assert ("FusedBatchNormalization" in kinds) == (norm == "batch")
    assert ("GroupNormalization" in kinds) == (norm == "layer")
    assert any(kind.startswith("WeightNorm") for kind in kinds) == (
        norm in ("weight", "weight_mean", "normprop")
    )


@pytest.mark.parametrize(
    "activation", ["prelu", "leaky_relu", "tanh", "scaled_tanh", "sigmoid", "elu", "gelu"]
)
@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_every_activation_trains(name, activation):
    model = build(name, activation=activation)
    assert np.isfinite(model(images(shapes(name)[0]), training=True)).all()
    assert any(layer.name.endswith(f"_{activation}") for layer in model.layers)
    assert not any(isinstance(layer, keras.layers.ReLU) for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "vgg16",
            {"norm": "batch"},
            "vgg16 has only dropout, got norm 'batch'; leave it out or take another model",
        ),
        ("softmax", {"activation": "tanh"}, "softmax has no options, got activation 'tanh'"),
        (
            "resnet8",
            {"norm": "group"},
            "norm must be one of batch, layer, weight, weight_mean, normprop, none, got 'group'",
        ),
        (
            "resnet8",
            {"activation": "rleu"},
            "activation must be relu, .* or the name of a Keras .*, got 'rleu'",
        ),
        ("resnet8", {"activation": "maxout"}, "'maxout' halves the channels"),
        ("lenet5", {"activation": "glu"}, "'glu' halves the channels"),
        ("lenet5", {"activation": "threshold"}, "'threshold' needs arguments"),
        ("lenet5", {"norm": "normprop"}, "'normprop' needs the activation relu, got 'tanh'"),
    ],
)
def test_build_refuses_options_that_the_network_has_not(name, options, message):
    with pytest.raises(ValueError, match=message) as refusal:
        build(name, **options)
    assert "\n" not in str(refusal.value)


NO_KERNEL = """
import sys
import keras
import numpy as np
import tensorflow as tf
from epochal import models

for activation in sys.argv[1:]:
    keras.backend.clear_session()
    options = {"norm": "batch", "activation": activation}
    model = models.build("lenet5", (8, 8, 1), 5, options=options)
    answer = tf.function(lambda x: model(x, training=False))
    assert np.isfinite(answer(np.zeros((2, 8, 8, 1), np.uint8))).all(), activation
    print(activation)
"""
OTHERS = {"get", "serialize", "deserialize", "glu", "threshold"}


@pytest.mark.parametrize(
    "activations",
    [
        ["tanh", "mish"],
        pytest.param(
            [
                name
                for name, function in vars(keras.activations).items()
                if callable(function) and name not in OTHERS
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["few", "all"],
)
def test_no_activation_is_fused_with_batch_norm_where_there_is_no_kernel_for_it(activations):
    """TensorFlow does it with oneDNN, which some processors have by default."""
    done = subprocess.run(
        [sys.executable, "-c", NO_KERNEL, *activations],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == activations


# build's refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("resnet21", (32, 32, 3), 10),
            r"Unknown model 'resnet21'.*the nearest are 20 and 26.*Did you mean 'resnet20'\?",
        ),
        (("resnet-18-cifar", (32, 32, 3), 10), r"Did you mean 'resnet18_cifar'\?"),
        (("Lenet", (32, 32, 3), 10), r"Did you mean 'lenet5'\?"),
        (("zzz", (32, 32, 3), 10), r"Unknown model 'zzz'\. `epochal models` lists all \d+\.$"),
        (("resnet20", (32, 7, 3), 10), "resnet20 needs images of at least 8x8 pixels, got 32x7"),
        (
            ("softmax", (32, 32), 10),
            r"input_shape must be \(height, width, channels\).*got \(32, 32\)",
        ),
        (("softmax", (0, 32, 3), 10), r"got \(0, 32, 3\)"),
        (("softmax", (8, 8, 1), 1), "num_classes must be at least 2, got 1"),
        (("softmax", (8, 8, 1), 0), "num_classes must be at least 2, got 0"),
    ],
)
def test_build_refuses_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as refusal:
        models.build(*arguments)
    assert "\n" not in str(refusal.value)


def test_build_refuses_channels_that_come_first():
    """LeNet-5 would get 43,556 weights instead of 61,706, and images of the wrong shape."""
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="channels_last"):
            build("lenet5")
    finally:
        keras.config.set_image_data_format("channels_last")


@every_model
def test_every_model_takes_the_smallest_images_it_admits(name):
    least = models.ZOO[name].min_size
    assert np.isfinite(build(name, (least, least, 3))(images((least, least, 3)))).all()
