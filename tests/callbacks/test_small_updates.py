"""SmallUpdates: updates of known sizes, which plain gradient descent on a line gives."""

from typing import Any

import keras
import numpy as np
import pytest

from epochal.callbacks import SmallUpdates


def trained(rate: float, steps: int = 100, **options: Any) -> list[str]:
    """Train y = w, whose gradient is 1 for any w; begin at 1, so that a step moves it by `rate`."""
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, dense(inputs))
    model.compile(keras.optimizers.SGD(rate), lambda y, answer: answer, **options)
    lines: list[str] = []
    x = np.ones((steps, 1), np.float32)
    model.fit(x, x, batch_size=1, verbose=0, callbacks=[SmallUpdates(warn=lines.append)])
    return lines


@pytest.mark.parametrize(("rate", "warned"), [(9e-6, True), (1.2e-5, False), (0.0, True)])
def test_warns_below_a_hundred_thousandth_of_the_weights(rate: float, warned: bool) -> None:
    lines = trained(rate)
    assert len(lines) == warned
    if warned:
        assert f"rates up to {rate:.3g};" in lines[0]


def test_fewer_than_a_hundred_steps_are_not_judged() -> None:
    assert trained(1e-6, steps=99) == []


def test_steps_in_one_call_are_measured_together() -> None:
    assert len(trained(9e-6, steps_per_execution=10)) == 1
    assert trained(1.2e-5, steps_per_execution=10) == []


def test_a_rise_within_the_first_hundred_steps_is_seen() -> None:
    inputs = keras.Input((1,))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model(inputs, dense(inputs))
    model.compile(keras.optimizers.SGD(0.0), lambda y, answer: answer)

    class Rise(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            model.optimizer.learning_rate = 1e-3 if batch == 99 else 0.0

    lines: list[str] = []
    x = np.ones((120, 1), np.float32)
    model.fit(x, x, batch_size=1, verbose=0, callbacks=[Rise(), SmallUpdates(warn=lines.append)])
    assert lines == []
