"""The list of a run's callbacks: ordered by phase, keys unique."""

from typing import Any

import keras
import pytest

from epochal.app.training.run.callback_list import CallbackList
from epochal.callbacks import EarlyStopping, NanGuard, Progress, StepDecay, Timing


@pytest.fixture(scope="module")
def model() -> Any:
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def test_callbacks_are_sorted_by_phase(model: Any, tmp_path: Any) -> None:
    watching = [
        EarlyStopping(),
        Progress(),
        NanGuard(),
        StepDecay([1]),
        Timing(tmp_path / "timing.json"),
    ]
    listed = CallbackList(watching, model=model, epochs=1, steps=1)
    names = [type(callback).__name__ for callback in listed.callbacks]
    assert names[:5] == ["Timing", "StepDecay", "NanGuard", "Progress", "EarlyStopping"]


def test_two_of_one_key_are_refused(model: Any) -> None:
    with pytest.raises(ValueError, match="early_stopping"):
        CallbackList([EarlyStopping(), EarlyStopping()], model=model, epochs=1, steps=1)


def test_two_of_one_class_with_keys_of_their_own_are_welcome(model: Any) -> None:
    other = EarlyStopping("val_accuracy")
    other.key = "best_accuracy"
    listed = CallbackList([EarlyStopping(), other], model=model, epochs=1, steps=1)
    assert other in listed.callbacks
