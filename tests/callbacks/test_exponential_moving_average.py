"""The average of the weights: NumPy's recurrence, and that it always comes out again."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from epochal.callbacks import EarlyStopping, ExponentialMovingAverage, NanGuard, NonFiniteError
from tests.support.toys import two_classes

X, Y = two_classes(24, 3)


def compiled(*layers: keras.layers.Layer, rate: float = 0.5) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
    return model


def fit(
    model: keras.Model, *watching: Any, epochs: int = 2, begin: int = 0
) -> dict[str, list[float]]:
    options: dict[str, Any] = {
        "batch_size": 8,
        "shuffle": False,
        "verbose": 0,
        "validation_data": (X, Y),
    }
    return model.fit(
        X, Y, epochs=epochs, initial_epoch=begin, callbacks=list(watching), **options
    ).history


class Steps(keras.callbacks.Callback):
    """Copies the weights after every step, when validation begins, and when an epoch ends."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[list[np.ndarray]] = []
        self.tested: list[list[np.ndarray]] = []
        self.ended: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.after.append(self.model.get_weights())

    def on_test_begin(self, logs: Any = None) -> None:
        self.tested.append(self.model.get_weights())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ended.append(self.model.get_weights())


class Raises(keras.callbacks.Callback):
    """Ends training inside the validation of the second epoch."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error = error
        self.trained = None
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.trained = self.model.get_weights()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.epoch == 1:
            raise self.error


def same(left: list[np.ndarray], right: list[np.ndarray], **tolerance: float) -> None:
    for a, b in zip(left, right, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 0, "atol": 0, **tolerance})


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9])
def test_equals_the_bias_corrected_recurrence(decay: float) -> None:
    model = compiled(keras.layers.Dense(4), keras.layers.BatchNormalization())
    steps = Steps()
    fit(model, ExponentialMovingAverage(decay), steps)
    sums = [np.zeros(weight.shape) for weight in model.weights]
    for weights in steps.after:  # Adam's: from zero, divided by what the shares sum to
        sums = [
            decay * total + (1 - decay) * weight
            for total, weight in zip(sums, weights, strict=True)
        ]
    expected = [total / (1 - decay ** len(steps.after)) for total in sums]
    same(model.get_weights(), expected, rtol=1e-5, atol=1e-6)


def test_training_itself_is_as_without() -> None:
    alone = Steps()
    watched = Steps()
    fit(compiled(), alone)
    fit(compiled(), ExponentialMovingAverage(0.9), watched)
    for left, right in zip(alone.after, watched.after, strict=True):
        same(left, right)


def test_validation_is_of_the_averages_and_only_validation() -> None:
    model = compiled()
    steps = Steps()
    average = ExponentialMovingAverage(0.9)
    early = EarlyStopping("val_loss")
    history = fit(model, average, early, steps, epochs=3)
    for place in range(3):
        assert not np.array_equal(steps.tested[place][0], steps.after[3 * place + 2][0])
        same(steps.ended[place], steps.after[3 * place + 2])
    best = early.best_epoch
    assert best is not None
    same(model.get_weights(), steps.tested[best])
    assert model.evaluate(X, Y, verbose=0)[0] == pytest.approx(history["val_loss"][best], rel=1e-6)


def test_an_evaluation_of_the_users_own_is_of_the_weights_as_they_are() -> None:
    model = compiled()
    found = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: found.append(own(model)))

    def own(model: keras.Model) -> bool:
        seen = Steps()
        before = model.get_weights()
        model.evaluate(X, Y, verbose=0, callbacks=[seen])
        return all(np.array_equal(a, b) for a, b in zip(seen.tested[0], before, strict=True))

    fit(model, ExponentialMovingAverage(0.9), look)
    assert found == [True, True]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_swapped_back_whatever_ends_validation(error: type[BaseException]) -> None:
    model = compiled()
    raises = Raises(error)
    average = ExponentialMovingAverage(0.9)
    with pytest.raises(error):
        fit(model, average, raises)
    assert raises.trained is not None
    same(model.get_weights(), raises.trained)
    fit(model, average)
    assert "evaluate" not in vars(model)


def test_not_a_number_leaves_the_best_averages() -> None:
    model = compiled()
    early = EarlyStopping("val_loss")
    poison = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            epoch and model.set_weights([np.full(w.shape, np.nan) for w in model.weights])
        )
    )
    steps = Steps()
    with pytest.raises(NonFiniteError):
        fit(model, ExponentialMovingAverage(0.9), NanGuard(), early, poison, steps)
    same(model.get_weights(), steps.tested[0])
    assert "evaluate" not in vars(model)


def test_a_checkpoint_made_in_validation_sees_the_weights_themselves() -> None:
    model = compiled()
    average = ExponentialMovingAverage(0.9)
    steps = Steps()
    seen: list[list[np.ndarray]] = []

    def look(batch: int, logs: Any) -> None:
        averages = model.get_weights()
        with average.saving():
            seen.append(model.get_weights())
            with average.saving():
                same(model.get_weights(), seen[-1])
        same(model.get_weights(), averages)
        same(averages, average.get_state()["averages"])

    fit(model, average, steps, keras.callbacks.LambdaCallback(on_test_batch_end=look), epochs=1)
    assert len(seen) == 3
    same(seen[0], steps.after[-1])


def test_goes_on_from_its_state(tmp_path: Path) -> None:
    whole = compiled()
    fit(whole, ExponentialMovingAverage(0.9), epochs=4)
    first = compiled()
    average = ExponentialMovingAverage(0.9)
    steps = Steps()
    fit(first, average, steps, epochs=2)
    first.set_weights(steps.after[-1])  # as a checkpoint has them
    again = ExponentialMovingAverage(0.9)
    restore = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: again.set_state(average.get_state())
    )
    fit(first, again, restore, epochs=4, begin=2)
    same(first.get_weights(), whole.get_weights())


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_refuses_bad_decays(decay: float) -> None:
    with pytest.raises(ValueError, match="decay must be from 0 to below 1"):
        ExponentialMovingAverage(decay)
