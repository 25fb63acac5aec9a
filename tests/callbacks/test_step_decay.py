from types import SimpleNamespace

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epochal.callbacks import StepDecay
from epochal.callbacks.step_decay import decayed


def rates(callback, optimizer, epochs):
    callback.set_model(SimpleNamespace(optimizer=optimizer))
    callback.on_train_begin()
    found = []
    for epoch in epochs:
        logs = {}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
        assert logs == {"learning_rate": pytest.approx(float(optimizer.learning_rate))}
        found.append(logs["learning_rate"])
    return found


def test_rate_at_every_boundary_of_milestones():
    found = rates(StepDecay([2, 4]), keras.optimizers.SGD(0.1), range(6))
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_rate_at_every_boundary_of_every():
    found = rates(StepDecay(every=3, factor=0.5), keras.optimizers.SGD(0.8), range(8))
    assert found == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2])


def test_milestones_may_come_unordered_start_at_zero_and_repeat():
    assert rates(
        StepDecay([3, 0, 3]), SimpleNamespace(learning_rate=1.0), range(4)
    ) == pytest.approx([0.1, 0.1, 0.1, 0.001])


def test_no_milestones_leave_the_rate_alone():
    assert rates(StepDecay([]), SimpleNamespace(learning_rate=0.3), range(3)) == [0.3, 0.3, 0.3]


@given(st.integers(1, 9), st.integers(0, 60), st.floats(0.1, 0.9))
def test_every_is_the_same_as_its_milestones(every, epoch, factor):
    milestones = range(every, 61, every)
    assert decayed(2.0, epoch, every=every, factor=factor) == decayed(
        2.0, epoch, milestones=milestones, factor=factor
    )


def test_a_resumed_run_takes_the_base_from_the_state():
    whole = rates(StepDecay([1, 3]), keras.optimizers.SGD(0.1), range(5))
    resumed = StepDecay([1, 3])
    optimizer = keras.optimizers.SGD(whole[1])  # the checkpoint holds the decayed rate
    resumed.set_model(SimpleNamespace(optimizer=optimizer))
    resumed.on_train_begin()
    first = StepDecay([1, 3])
    rates(first, keras.optimizers.SGD(0.1), range(2))
    resumed.set_state(first.get_state())
    for epoch in (2, 3, 4):
        resumed.on_epoch_begin(epoch)
        assert float(optimizer.learning_rate) == whole[epoch]


def test_a_second_fit_does_not_decay_twice():
    callback = StepDecay([1])
    optimizer = keras.optimizers.SGD(0.1)
    rates(callback, optimizer, range(2))
    assert rates(callback, optimizer, range(2, 4)) == pytest.approx([0.01, 0.01])
    assert rates(callback, optimizer, range(2)) == pytest.approx([0.1, 0.01])


def test_a_second_fit_takes_a_new_rate_and_a_new_optimizer_as_they_are():
    callback = StepDecay([1])
    optimizer = keras.optimizers.SGD(0.1)
    rates(callback, optimizer, range(2))
    optimizer.learning_rate = 0.5
    assert rates(callback, optimizer, range(2)) == pytest.approx([0.5, 0.05])
    assert rates(callback, keras.optimizers.SGD(0.05), range(2)) == pytest.approx([0.05, 0.005])


def test_sets_the_rate_inside_a_loss_scale_optimizer():
    inner = keras.optimizers.SGD(0.1)
    rates(StepDecay([1]), keras.optimizers.LossScaleOptimizer(inner), range(2))
    assert float(inner.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("rate", [keras.optimizers.schedules.CosineDecay(0.1, 10), lambda: 0.1])
def test_refuses_an_optimizer_with_a_schedule(rate):
    callback = StepDecay([1])
    callback.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(rate, name="mine")))
    with pytest.raises(ValueError, match="'mine' has its own schedule: give it a number"):  # noqa: PT012
        callback.on_train_begin()
        callback.on_epoch_begin(
            0
        )  # Keras ignores an assignment of the very object that a function returned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either milestones or every"),
        ({"milestones": [1], "every": 2}, "either milestones or every"),
        ({"every": 0}, "at least 1 epoch, got 0"),
        ({"milestones": [-1]}, r"counted from 0, got \[-1\]"),
        ({"every": 1, "factor": 0}, "above 0 and below 1, got 0"),
        ({"every": 1, "factor": 2.0}, "above 0 and below 1, got 2"),
        ({"every": 1, "factor": float("nan")}, "above 0 and below 1, got nan"),
    ],
)
def test_refuses_what_makes_no_schedule(arguments, message):
    with pytest.raises(ValueError, match=message):
        StepDecay(**arguments)
