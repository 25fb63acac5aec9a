"""Tools of tests of layers: random numbers, small models, gradients, a naive convolution."""

import warnings
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf


@contextmanager
def precision(policy):
    """Make layers with this policy, in a context or in the function that it decorates."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def normal(*shape, seed=0):
    """Return float32 numbers from N(0, 1)."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def as_model(function, shape, dtype=None):
    """Return the model that applies `function` to tensors `[N, *shape]`."""
    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, function(x))


def randomized(model, seed=0):
    """Give a model or layer trainable weights from N(1, 1/4), and return it.

    No gain or bias has its initial value then.
    """
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(1 + normal(*weight.shape, seed=seed + number) / 2)
    return model


def saved_and_loaded(model, folder):
    """Return the model as it comes back from Keras' file."""
    with warnings.catch_warnings():
        # Keras 3.15 still reads its variables in a way that NumPy 2 deprecates
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def gradients(function, arguments, upstream):
    """Return the gradients (float64) of the arguments for the gradient `upstream` of the result."""
    tensors = [tf.convert_to_tensor(argument) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = function(*tensors)
    results = tape.gradient(outputs, tensors, tf.cast(upstream, outputs.dtype))
    return [tf.cast(gradient, "float64").numpy() for gradient in results]


def gradients_of(layer, x, upstream, **call):
    """Return the gradients of the input and of each trainable weight of a layer or model."""
    weights = [weight.value for weight in layer.trainable_variables]
    return gradients(_as_function(layer, **call), [x, *weights], upstream)


def assert_gradients_equal_finite_differences(layer, x, **call):
    """Compare the Jacobians of a float64 layer or model by its input and by each weight."""
    arguments = [x, *[weight.numpy() for weight in layer.trainable_variables]]
    analytic, numeric = tf.test.compute_gradient(_as_function(layer, **call), arguments, delta=1e-5)
    for jacobian, expected in zip(analytic, numeric, strict=True):
        np.testing.assert_allclose(jacobian, expected, atol=1e-8)
        assert np.any(jacobian)


def _as_function(layer, **call):
    def function(x, *weights):
        values = zip(layer.trainable_variables, weights, strict=True)
        with keras.StatelessScope(values):  # moves no state
            return layer(x, **call)

    return function


def naive_convolution(x, kernel, *, stride=1, pad=0):
    """Return the cross-correlation of `[N, H, W, C]` with `[k, k, C / groups, filters]`.

    It is computed position by position, in float64.
    """
    k, _, channels, filters = kernel.shape
    groups = x.shape[-1] // channels
    filters_per_group = filters // groups
    x = np.pad(x.astype(np.float64), [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    height, width = ((size - k) // stride + 1 for size in x.shape[1:3])
    result = np.zeros((len(x), height, width, filters))
    for row, column, filter_ in np.ndindex(height, width, filters):
        top = row * stride
        left = column * stride
        first = filter_ // filters_per_group * channels
        patch = x[:, top : top + k, left : left + k, first : first + channels]
        products = patch * kernel[..., filter_]
        result[:, row, column, filter_] = products.sum(axis=(1, 2, 3))
    return result
