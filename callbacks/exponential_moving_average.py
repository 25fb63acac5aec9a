"""An exponential average of the weights over the steps, which is what is evaluated and kept."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.evaluated_weights import provide_evaluated_weights
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.replacing import Replacement, refuse_second
from epochal.callbacks.parts.weight_averages import WeightAverages


class ExponentialMovingAverage(keras.callbacks.Callback):
    """Averages the weights over steps.

    Validation is of the averages, and so are the weights when training ends.

    After step t the average moves by `(1 - decay) / (1 - decay**t)` of the way to the weights: an
    exponential average whose weights sum to 1 from the first step on, as with the bias correction
    of Adam (Kingma and Ba 2015, arXiv:1412.6980, section 3); averages of weights: Polyak and
    Juditsky 1992. The moving statistics of batch norm, and whatever else among the weights is a
    floating-point number, are averaged alike (as for EfficientNet, Tan and Le 2019,
    arXiv:1905.11946): a network from about 1 / (1 - decay) steps ago needs statistics of that time.

    The averages are in the model during the validation within `fit`, and only then, whatever ends
    it: the wrapper that puts them there takes them out again. `EarlyStopping` and `BestWeights` of
    the same fit keep averages. A checkpoint made during validation, within `saving()`, finds the
    weights themselves. With `steps_per_execution` above 1, the average moves once an execution.
    Keras' SwapEMAWeights leaves the averages in the model after `predict`.

    Args:
        decay: from 0 (the weights of the last step) to below 1.

    Raises:
        ValueError: `decay` out of range, or (when training begins) another backend than TensorFlow,
            a model without its weights, or two of these in one fit.
    """

    phase = Phase.STEER
    key = "exponential_moving_average"

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be from 0 to below 1, got {decay}.")
        self.decay = decay
        self._averages: Any = None
        # The weights themselves, while the averages are in the model.
        self._raw_weights: list[np.ndarray] | None = None
        self._replacement: Replacement | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin with the weights as they are."""
        require_tensorflow("ExponentialMovingAverage", "give the optimizer use_ema=True instead")
        self._release()
        refuse_second(self, self.model, "evaluate")
        self._averages = WeightAverages(self.model, self.decay)
        evaluate = partial(self._evaluate, self.model.evaluate)
        self._replacement = Replacement(
            self,
            self.model,
            "evaluate",
            evaluate,
        )
        provide_evaluated_weights(self, self._averages.read_complete)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move the averages."""
        self._averages.move()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the averages in the model.

        An `EarlyStopping` that stands behind puts the best epoch's there.
        """
        self._release()
        self._averages.exchange(self._averages.read())

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Within it the model has the weights themselves, also during validation."""
        raw_weights = self._raw_weights
        if raw_weights is None:
            yield
            return
        self._raw_weights = None
        averages = self._averages.exchange(raw_weights)
        try:
            yield
        finally:
            self._raw_weights = self._averages.exchange(averages)

    def get_state(self) -> dict[str, Any]:
        """Return the averages and the number of steps in them."""
        return {"step": self._averages.step, "averages": self._averages.read()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._averages.assign(state["averages"], int(state["step"]))

    def _evaluate(self, evaluate: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Evaluate the averages where `fit` validates, the weights where the user evaluates."""
        if self not in getattr(options.get("callbacks"), "callbacks", ()):
            return evaluate(*args, **options)
        self._raw_weights = [weight.numpy() for weight in self._averages.weights]
        try:
            self._averages.exchange(self._averages.read())
            return evaluate(*args, **options)
        finally:
            raw_weights = self._raw_weights
            self._raw_weights = None
            self._averages.exchange(raw_weights)

    def _release(self) -> None:
        if self._replacement is not None:
            self._replacement.undo()
