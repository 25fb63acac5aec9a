"""What tests of layers and blocks share: random numbers, small models, gradients, a convolution by definition."""

import warnings
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf


@contextmanager
def precision(policy):
    """Within it, or within the function that it decorates, layers are made with this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def normal(*shape, seed=0):
    """Float32 numbers from N(0, 1)."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def as_model(function, shape, dtype=None):
    """The model that applies `function` to tensors `[N, *shape]`."""
    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, function(x))


def randomized(model, seed=0):
    """The model or layer with trainable weights from N(1, 1/4): no gain or bias is where it began."""
    for i, weight in enumerate(model.trainable_weights):
        weight.assign(1 + normal(*weight.shape, seed=seed + i) / 2)
    return model


def saved_and_loaded(model, folder):
    """The model as it comes back from Keras' own file."""
    with (
        warnings.catch_warnings()
    ):  # Keras 3.15 still reads its variables in a way that NumPy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def gradients(function, arguments, upstream):
    """What arrives at each argument when `upstream` comes back through the function, as float64."""
    tensors = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
    found = tape.gradient(outputs, tensors, tf.cast(upstream, outputs.dtype))
    return [tf.cast(gradient, "float64").numpy() for gradient in found]


def gradients_of(layer, x, upstream, **call):
    """What arrives at the input and at each trainable weight of a layer or model."""
    return gradients(
        _as_function(layer, **call),
        [x, *[weight.value for weight in layer.trainable_variables]],
        upstream,
    )


def assert_gradients_equal_finite_differences(layer, x, **call):
    """Compares the Jacobians of a float64 layer or model by its input and by each weight."""
    arguments = [x, *[weight.numpy() for weight in layer.trainable_variables]]
    analytic, numeric = tf.test.compute_gradient(_as_function(layer, **call), arguments, delta=1e-5)
    for found, expected in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-8)
        assert np.any(found)


def _as_function(layer, **call):
    def function(x, *weights):
        with keras.StatelessScope(
            zip(layer.trainable_variables, weights, strict=True)
        ):  # moves no state
            return layer(x, **call)

    return function


def naive_convolution(x, kernel, *, stride=1, pad=0):
    """The cross-correlation of `[N, H, W, C]` with `[k, k, C / groups, filters]`, position by position."""
    k, _, channels, filters = kernel.shape
    groups = x.shape[-1] // channels
    x = np.pad(x.astype(np.float64), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = ((size - k) // stride + 1 for size in x.shape[1:3])
    result = np.zeros((len(x), height, width, filters))
    for row, column, filter_ in np.ndindex(height, width, filters):
        first = filter_ // (filters // groups) * channels
        patch = x[
            :,
            row * stride : row * stride + k,
            column * stride : column * stride + k,
            first : first + channels,
        ]
        result[:, row, column, filter_] = (patch * kernel[..., filter_]).sum(axis=(1, 2, 3))
    return result
