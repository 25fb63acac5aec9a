"""The order of a list of callbacks, and the keys of their states."""

import re

import keras
import pytest

from epochal import callbacks
from epochal.callbacks.parts.phase import Phase, Stateful, sort_callbacks

CLASSES = [getattr(callbacks, name) for name in callbacks.__all__ if name != "NonFiniteError"]
STATEFUL = [item for item in CLASSES if hasattr(item, "get_state")]


@pytest.mark.parametrize("callback", CLASSES)
def test_every_callback_declares_its_phase(callback):
    assert isinstance(callback.phase, Phase)


def test_every_state_has_a_key_of_its_own():
    keys = [callback.key for callback in STATEFUL]
    assert len(set(keys)) == len(keys) > 0
    for key in keys:
        assert re.fullmatch("[a-z_]+", key)
    assert isinstance(callbacks.EarlyStopping(), Stateful)
    assert not isinstance(callbacks.NanGuard(), Stateful)


def test_a_list_is_sorted_by_phase_and_keeps_its_order_within_one(tmp_path):
    early = callbacks.EarlyStopping()
    best = callbacks.BestWeights(tmp_path)
    average = callbacks.ExponentialMovingAverage()
    clipping = callbacks.GradientClipping()
    guard = callbacks.NanGuard()
    activations = callbacks.ActivationMonitor(tmp_path / "activations.jsonl")
    ordered = [average, clipping, guard, early, best, activations]
    assert sort_callbacks([activations, early, best, guard, average, clipping]) == ordered
    assert sort_callbacks(ordered) == ordered


def test_two_states_need_two_keys(tmp_path):
    losses = callbacks.BestWeights(tmp_path / "loss")
    accuracies = callbacks.BestWeights(tmp_path / "accuracy", "val_accuracy")
    with pytest.raises(ValueError, match="BestWeights has the key 'best_weights'"):
        sort_callbacks([losses, accuracies])
    accuracies.key = "best_accuracy"
    assert sort_callbacks([losses, accuracies]) == [losses, accuracies]


def test_refuses_a_callback_without_a_phase_or_a_state_without_a_key():
    class Counter(keras.callbacks.Callback):
        phase = Phase.RECORD

        def get_state(self):
            return {}

    with pytest.raises(ValueError, match="LambdaCallback has no phase"):
        sort_callbacks([keras.callbacks.LambdaCallback()])
    with pytest.raises(ValueError, match="Counter has a state but no key"):
        sort_callbacks([Counter()])
