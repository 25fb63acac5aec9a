"""Models and callbacks on JAX (extra `jax`): they build, train, and answer as on TensorFlow."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.jax_child import random_weights
from tests.support.zoo import build, images, names, shapes

FAST = ["mlp"]
pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("jax"), reason="needs pip install -e '.[jax]'"
)


def on_jax(folder, name):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.support.jax_child", str(folder), name]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return np.load(folder / f"{name}.npz")


@pytest.mark.parametrize("name", names(FAST))
def test_models_train_on_jax_and_answer_as_on_tensorflow(name, tmp_path):
    results = on_jax(tmp_path, name)
    model = build(name)
    random_weights(model)
    expected = model(images(shapes(name)[0])).numpy()
    tolerance = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(results["answers"], expected, rtol=1e-3, atol=tolerance)
    assert np.isfinite(results["loss"])
    clipping, freezing, histograms, guard, *others = results["refused"]
    assert "needs the TensorFlow backend, got 'jax'" in clipping
    assert "global_clipnorm" in clipping
    assert "set trainable of the layers before compiling" in freezing
    assert "leave the batch out" in histograms
    assert "leave keep_state out" in guard
    assert all("needs the TensorFlow backend, got 'jax'" in said for said in others)
    assert len(others) == 2
