"""One contract for every model of the zoo, and what only one family promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import models
from models.complexity import trainable_params
from models.mlp import mlp
from models.resnet_cifar import resnet_cifar

# trainable parameters at the native shape with 10 classes. LeNet-5: LeCun et al. 1998 with a whole C3;
# residual networks: He et al. 2015, table 6 (0.27, 0.46, 0.66, 0.85, 1.7 and 19.4 million)
PARAMS = {
    "softmax": 7_850,
    "mlp": 235_146,
    "lenet5": 61_706,
    "resnet8": 75_290,
    "resnet14": 172_506,
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet1202": 19_421_274,
    "resnet20b": 272_474,
    "resnet32b": 466_906,
    "resnet44b": 661_338,
    "resnet56b": 855_770,
    "resnet110b": 1_730_714,
}
TRIED_WHOLE = ["softmax", "mlp", "lenet5", "resnet8", pytest.param("resnet20b", marks=pytest.mark.slow)]
COUNTED = [pytest.param(name, marks=pytest.mark.slow) if count > 1_000_000 else name for name, count in PARAMS.items()]
SHAPES = [(8, 8, 1), (33, 30, 3)]
every_model = pytest.mark.parametrize("name", TRIED_WHOLE)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def images(shape, count=4):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def build(name, shape=(8, 8, 1), num_classes=5):
    channels = shape[-1]
    return models.build(name, shape, num_classes, mean=[120.0] * channels, deviation=[60.0] * channels)


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
    model = models.build(name, architecture.input_shape, 10)
    assert architecture.num_classes == 10
    assert trainable_params(model) == PARAMS[name]


@every_model
@every_shape
def test_logits(name, shape):
    model = build(name, shape)
    assert (model.name, model.input.name, model.input.dtype, model.layers[1].name) == (
        name,
        "image",
        "uint8",
        "standardize",
    )
    assert model.layers[-1].name == "logits"
    for training in (False, True):
        logits = model(images(shape), training=training)
        assert (logits.shape, logits.dtype) == ((4, 5), tf.float32)
        assert np.isfinite(logits).all()


@every_model
@every_shape
def test_every_trainable_weight_gets_a_gradient(name, shape):
    model = build(name, shape)
    with tf.GradientTape() as tape:
        logits = model(images(shape), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 2, 3], logits))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(gradient), weight.path


@every_model
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_mixed_precision_computes_low_and_answers_in_float32(name, precision):
    model = build(name)
    logits = model(images((8, 8, 1)), training=True)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model.get_layer("standardize").compute_dtype == precision.removeprefix("mixed_")


@every_model
@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_float64_is_kept_to_the_end(name, precision):
    model = build(name)
    assert model(images((8, 8, 1))).dtype == tf.float64
    assert {weight.dtype for weight in model.trainable_weights} == {"float64"}


@every_model
def test_layers_and_model_come_back_from_their_configuration(name):
    model = build(name)
    for layer in model.layers:
        assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    twin = keras.Model.from_config(model.get_config())
    twin.set_weights(model.get_weights())
    np.testing.assert_array_equal(twin(images((8, 8, 1))), model(images((8, 8, 1))))


@every_model
def test_variables_have_the_same_distinct_paths_in_every_build(name):
    first, second = ([variable.path for variable in build(name).variables] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


@every_model
def test_a_seed_decides_weights_and_masks(name):
    results = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        results.append(build(name)(images((8, 8, 1)), training=True).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert name == "softmax" or (results[0] != results[2]).any()


@every_model
def test_an_image_may_come_in_any_type_and_alone(name):
    model = build(name)
    batch = images((8, 8, 1))
    together = model(batch)
    np.testing.assert_array_equal(model(batch.astype(np.float32)), together)
    np.testing.assert_allclose(model(batch[1:2]), together[1:2], rtol=1e-4, atol=1e-5)


# build's refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("resnet21", (32, 32, 3), 10),
            r"Unknown model 'resnet21'. Did you mean 'resnet20'\? Known: softmax, mlp",
        ),
        (("Lenet", (32, 32, 3), 10), r"Did you mean 'lenet5'\?"),
        (("zzz", (32, 32, 3), 10), "Unknown model 'zzz'. Known: softmax, mlp"),
        (("resnet20", (32, 7, 3), 10), "resnet20 needs images of at least 8x8 pixels, got 32x7"),
        (("softmax", (32, 32), 10), r"input_shape must be \(height, width, channels\).*got \(32, 32\)"),
        (("softmax", (0, 32, 3), 10), r"got \(0, 32, 3\)"),
        (("softmax", (8, 8, 1), 1), "num_classes must be at least 2, got 1"),
        (("softmax", (8, 8, 1), 0), "num_classes must be at least 2, got 0"),
    ],
)
def test_build_refuses_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as refusal:
        models.build(*arguments)
    assert "\n" not in str(refusal.value)


def test_every_model_takes_the_smallest_images_it_admits():
    for name in ("softmax", "mlp", "lenet5", "resnet8"):
        least = models.ZOO[name].min_size
        assert np.isfinite(build(name, (least, least, 1))(images((least, least, 1)))).all()


# families


def features(shape):
    return keras.Input(shape)


def test_softmax_regression_starts_undecided():
    np.testing.assert_array_equal(build("softmax")(images((8, 8, 1))), np.zeros((4, 5)))


def test_softmax_regression_is_an_affine_map_of_the_standardised_pixels():
    model = build("softmax")
    kernel, bias = np.random.default_rng(1).normal(size=(64, 5)), np.arange(5.0)
    model.get_layer("logits").set_weights([kernel, bias])
    pixels = images((8, 8, 1)).reshape(4, 64).astype(float)
    np.testing.assert_allclose(model(images((8, 8, 1))), (pixels - 120) / 60 @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_the_perceptron_of_the_lectures_has_its_published_size():
    pixels = features((128, 128, 1))
    assert trainable_params(models.build("softmax", (128, 128, 1), 10)) == 128 * 128 * 10 + 10
    model = keras.Model(pixels, mlp(pixels, 10, hidden=[1000]))
    assert trainable_params(model) == 16_395_010


def test_perceptron_takes_an_activation_for_each_layer_and_a_hundred_layers():
    x = features((4, 4, 1))
    model = keras.Model(x, mlp(x, 3, hidden=[8, 7, 6, 5], activations=["relu", "relu", "tanh", "sigmoid"]))
    assert [model.get_layer(f"hidden{i}").activation.__name__ for i in (1, 2, 3, 4)] == [
        "relu",
        "relu",
        "tanh",
        "sigmoid",
    ]
    deep = keras.Model(x, mlp(x, 3, hidden=[4] * 100))
    assert trainable_params(deep) == (16 * 4 + 4) + 99 * (4 * 4 + 4) + (4 * 3 + 3)


def test_perceptron_refuses_activations_that_do_not_match():
    with pytest.raises(ValueError, match=r"each of the 2 hidden layers, got \['relu'\]"):
        mlp(features((4, 4, 1)), 3, hidden=[8, 7], activations=["relu"])


@pytest.mark.parametrize("size", [8, 28, 31, 32])
def test_lenet_centres_small_images_in_the_canvas_of_the_paper(size):
    assert trainable_params(models.build("lenet5", (size, size, 1), 10)) == PARAMS["lenet5"]
    model = build("lenet5", (size, size, 1))
    before = (32 - size) // 2
    canvas = np.full((4, 32, 32, 1), 120, np.uint8)  # the mean of `build`, which standardises to zero
    canvas[:, before : before + size, before : before + size] = images((size, size, 1))
    whole = build("lenet5", (32, 32, 1))
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images((size, size, 1))), whole(canvas), rtol=1e-5, atol=1e-6)


def test_residual_stages_halve_the_image_and_double_the_width():
    model = build("resnet8", (33, 30, 3))
    shapes = [model.get_layer(f"stage{stage}_block1_relu").output.shape[1:] for stage in (1, 2, 3)]
    assert shapes == [(33, 30, 16), (17, 15, 32), (9, 8, 64)]


@pytest.mark.parametrize("depth", [2, 9, 21])
def test_residual_network_refuses_depths_that_do_not_exist(depth):
    with pytest.raises(ValueError, match=rf"depth must be 6n \+ 2 .* got {depth}"):
        resnet_cifar(features((8, 8, 1)), 10, depth=depth)


def test_batch_norm_learns_a_tenth_of_each_batch():
    model = build("resnet8")
    stem = model.get_layer("stem_conv").output
    values = keras.Model(model.input, stem)(images((8, 8, 1)))
    model(images((8, 8, 1)), training=True)
    expected = 0.1 * np.mean(values, axis=(0, 1, 2))
    np.testing.assert_allclose(model.get_layer("stem_bn").moving_mean, expected, rtol=1e-4, atol=1e-6)
    assert {layer.epsilon for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)} == {1e-5}
