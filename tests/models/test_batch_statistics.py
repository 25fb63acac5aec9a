"""Batch norm after training: statistics of the training set, and folding into convolutions."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from epochal.models.finalize_batch_norm import finalize_batch_norm
from epochal.models.fold_batch_norm import fold_batch_norm
from epochal.models.layers.batch_norm import FusedBatchNormalization
from epochal.models.layers.dropout import PerSampleDropout
from tests.support.zoo import build, images, names, shapes

BATCHES = np.split(
    np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), [16, 32]
)  # 16, 16 and 8


def norms(model):
    return [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]


def unlike_the_beginning(model):
    """Gives every batch norm weights and statistics as training leaves them."""
    random = np.random.default_rng(0)
    for layer in norms(model):
        for weight in layer.weights:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def small():
    """Dropout and a dense layer with batch norm too."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(x)
    x = layers.ReLU()(FusedBatchNormalization(momentum=0.9)(x))
    x = PerSampleDropout(0.5)(layers.Flatten()(x))
    x = FusedBatchNormalization()(layers.Dense(5)(x))
    return unlike_the_beginning(keras.Model(image, x))


def test_paper_mode_averages_the_moments_of_batches():
    model = small()
    first = norms(model)[0]
    finalize_batch_norm(model, BATCHES)
    convolved = [
        keras.Model(model.input, first.input)(batch).numpy().astype(float) for batch in BATCHES
    ]
    sizes = [16, 16, 8]
    pixels = 6 * 6
    means = [x.mean((0, 1, 2)) for x in convolved]
    variances = [
        x.var((0, 1, 2)) * n * pixels / (n * pixels - 1)
        for x, n in zip(convolved, sizes, strict=True)
    ]
    np.testing.assert_allclose(first.moving_mean, np.average(means, 0, sizes), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, np.average(variances, 0, sizes), rtol=1e-5)


def test_paper_mode_leaves_everything_else_as_it_was():
    model = small()
    momenta = [layer.momentum for layer in norms(model)]
    before = {v.path: v.numpy() for v in model.variables if "moving" not in v.path}
    finalize_batch_norm(model, BATCHES)
    assert [layer.momentum for layer in norms(model)] == momenta
    for variable in model.variables:
        if "moving" not in variable.path:
            np.testing.assert_array_equal(variable, before[variable.path])


@pytest.mark.parametrize(
    "name", ["resnet8", pytest.param("densenet_bc_40_12", marks=pytest.mark.slow)]
)
def test_exact_mode_normalises_every_layer_over_the_training_set(name):
    model = unlike_the_beginning(build(name, (8, 8, 3)))
    finalize_batch_norm(model, BATCHES, exact=True)
    for layer in norms(model):
        outputs = (
            keras.Model(model.input, layer.output)(np.concatenate(BATCHES)).numpy().astype(float)
        )
        np.testing.assert_allclose(outputs.mean((0, 1, 2)), layer.beta, atol=1e-3)
        np.testing.assert_allclose(outputs.var((0, 1, 2)), np.square(layer.gamma), rtol=1e-3)


@pytest.mark.slow
def test_finalised_statistics_serve_a_model_after_few_steps():
    """With a momentum of 0.99 ten steps leave the moving averages at a tenth of the way."""
    keras.utils.set_random_seed(0)
    pixels, labels = load_digits(return_X_y=True)
    data = pixels.reshape(-1, 8, 8, 1) * (255 / 16)
    model = build("resnet8", (8, 8, 1), 10)
    for layer in norms(model):
        layer.momentum = 0.99
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, 0.9), loss, metrics=["accuracy"])
    model.fit(data[:1000], labels[:1000], batch_size=100, epochs=2, verbose=0)
    lagging = model.evaluate(data[1000:], labels[1000:], verbose=0)[1]
    for exact in (False, True):
        finalize_batch_norm(model, np.split(data[:1000], 10), exact=exact)
        assert model.evaluate(data[1000:], labels[1000:], verbose=0)[1] > lagging + 0.1


def test_no_images_are_refused_and_change_nothing():
    model = small()
    before = model.get_weights()
    with pytest.raises(ValueError, match="at least one batch, got none"):
        finalize_batch_norm(model, [])
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)


@pytest.mark.parametrize(
    "name", names(["resnet8", "resnet20_v2", "mobilenet_025", "densenet_bc_40_12", "lenet5"])
)
def test_folded_model_answers_like_the_model(name):
    model = unlike_the_beginning(build(name))
    folded = fold_batch_norm(model)
    expected = model(images(shapes(name)[0]))
    np.testing.assert_allclose(
        folded(images(shapes(name)[0])), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


@pytest.mark.parametrize(
    ("name", "left"), [("resnet8", 0), ("mobilenet_025", 0), ("resnet20_v2", 10), ("lenet5", 0)]
)
def test_only_batch_norms_behind_something_else_are_left(name, left):
    assert len(norms(fold_batch_norm(build(name)))) == left


def test_batch_norm_stays_where_others_read_what_it_reads_or_an_activation_stands_between():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    read_twice = layers.Add()([x, layers.BatchNormalization()(x)])
    activated = layers.BatchNormalization()(layers.Conv2D(4, 1, activation="relu")(read_twice))
    separable = layers.BatchNormalization()(layers.SeparableConv2D(5, 3)(activated))
    dense = layers.BatchNormalization(scale=False, center=False)(
        layers.Dense(3, use_bias=False)(separable)
    )
    model = unlike_the_beginning(keras.Model(image, dense))
    folded = fold_batch_norm(model)
    assert len(norms(folded)) == 2
    batch = BATCHES[0].astype(np.float32)
    np.testing.assert_allclose(folded(batch), model(batch), rtol=1e-4, atol=1e-3)


def test_folding_leaves_the_model_as_it_is():
    model = build("resnet8")
    before = model.get_weights()
    fold_batch_norm(model)
    assert len(norms(model)) == 7
    for value, weight in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, weight)
