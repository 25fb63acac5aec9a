"""A warning of training that moves nothing: the first steps' updates beside the weights."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_built
from epochal.callbacks.parts.optimizer import iteration_of, learning_rate
from epochal.callbacks.parts.phase import Phase

_LOOKED_AT = (1, 2, 5, 10, 20, 50, 100)  # steps, counted from 1; a copy of the weights costs time
_SMALL = 1e-5  # of the weights; about 1e-3 is usual


class SmallUpdates(keras.callbacks.Callback):
    """Warns once when none of the first hundred steps moves the weights by 1e-5 of their size.

    Looks at steps 1, 2, 5, 10, 20, 50 and 100: the norm of what a step changes, over the norm of
    the weights before it, all trainable weights together. About 0.001 is usual (Karpathy, CS231n,
    "Ratio of weights:updates"). A step that only gathers gradients for the next is no step. Says
    nothing of a training that ends before step 100.

    Args:
        warn: called with the line.
    """

    phase = Phase.RECORD
    key = "small_updates"

    def __init__(self, warn: Callable[[str], object] = print) -> None:
        super().__init__()
        self.warn = warn
        self._steps = 0
        self._largest: float | None = None
        self._largest_rate = 0.0
        self._iteration = 0
        self._before: list[np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        require_built(self.model, "SmallUpdates")
        self._steps = 0
        self._largest = None
        self._largest_rate = 0.0
        self._iteration = iteration_of(self.model)
        self._before = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights before a step that is looked at."""
        last = self._steps + self.model.steps_per_execution
        looked_at = any(self._steps < step <= last for step in _LOOKED_AT)
        if looked_at and self._before is None:
            self._before = self._read_weights()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure what the step has changed."""
        if self._steps >= _LOOKED_AT[-1]:
            return
        iteration = iteration_of(self.model)
        steps = iteration - self._iteration
        if steps == 0:
            return
        self._iteration = iteration
        self._steps += steps
        # Where the backend counts at an epoch's end alone, the single steps are not known.
        if self._before is not None and steps <= self.model.steps_per_execution:
            self._measure(self._before, steps)
        self._before = None
        if self._steps >= _LOOKED_AT[-1] and self._largest is not None:
            self._judge(self._largest)

    def _measure(self, before: list[np.ndarray], steps: int) -> None:
        squares = 0.0
        squares_of_change = 0.0
        for old, new in zip(before, self._read_weights(), strict=True):
            squares += float(np.sum(np.square(old)))
            squares_of_change += float(np.sum(np.square(new - old)))
        relative = np.inf
        if squares:
            relative = np.sqrt(squares_of_change / squares) / steps
        self._largest = max(self._largest or 0.0, float(relative))
        self._largest_rate = max(self._largest_rate, learning_rate(self.model))

    def _judge(self, largest: float) -> None:
        if largest < _SMALL:
            self.warn(
                f"the first {self._steps} steps hardly move the weights: by at most "
                f"{largest:.1g} of their size a step, at learning rates up to "
                f"{self._largest_rate:.3g}; about 0.001 is usual: give a higher learning rate"
            )

    def get_state(self) -> dict[str, Any]:
        """Return the number of steps, the largest relative update and the largest rate so far."""
        return {
            "steps": self._steps,
            "largest": self._largest,
            "largest_rate": self._largest_rate,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._steps = state["steps"]
        self._largest = state["largest"]
        self._largest_rate = state["largest_rate"]

    def _read_weights(self) -> list[np.ndarray]:
        weights = []
        for variable in self.model.trainable_variables:
            weights.append(np.asarray(variable.numpy(), np.float32))
        return weights
