"""The dtype policy: a model is built with one of its own, and the process keeps its."""

from pathlib import Path

import keras
import pytest

from epochal.app.config import Augment, Config
from epochal.app.evaluation.trained_model import load_trained
from epochal.app.process.dtype_policy import dtype_policy
from epochal.app.store.run import Run
from epochal.app.training.train import train_at

pytestmark = pytest.mark.usefixtures("determinism_ends_here")


def test_the_policy_before_is_put_back() -> None:
    before = keras.config.dtype_policy()
    with dtype_policy("mixed_float16"):
        layer = keras.layers.Dense(1)
    assert layer.compute_dtype == "float16"
    assert keras.config.dtype_policy() == before


def test_the_policy_before_is_put_back_after_an_error() -> None:
    before = keras.config.dtype_policy()
    with pytest.raises(ZeroDivisionError), dtype_policy("mixed_float16"):
        raise ZeroDivisionError
    assert keras.config.dtype_policy() == before


def test_training_and_loading_a_float16_run_leave_the_policy_as_it_was(tmp_path: Path) -> None:
    before = keras.config.dtype_policy()
    config = Config(
        model="mlp",
        epochs=1,
        batch_size=512,
        augment=Augment(pad_crop=0),
        precision="mixed_float16",
    )
    run = Run(tmp_path / "run")
    train_at(run, config, test=False)
    assert keras.config.dtype_policy() == before
    model = load_trained(run).model
    assert model.get_layer("hidden1").compute_dtype == "float16"
    assert keras.config.dtype_policy() == before
    assert load_trained(run, "float32").model.get_layer("hidden1").compute_dtype == "float32"
    assert keras.config.dtype_policy() == before
