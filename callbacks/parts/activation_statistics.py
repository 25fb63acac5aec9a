"""Statistics of what comes out of a non-linearity: moments, saturation, silent units."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

SATURATED = 0.01  # slope below which a non-linearity is saturated
_STEP = 0.01  # half of the interval over which slopes are taken


class ActivationStatistics:
    """Moments, saturation and silent units of one layer, over all batches that it is shown.

    Args:
        top: what a ReLU is cut off at (infinity for the plain one); None for other non-linearities.
        function: a non-linearity by element, whose slope is looked at; None for none.
    """

    def __init__(
        self, *, top: float | None = None, function: Callable[[Any], Any] | None = None
    ) -> None:
        self.count = 0  # of values
        self._top = top
        self._function = function
        self._mean = 0.0
        self._squares = 0.0  # sum of squared differences from the mean
        self._saturated = 0
        self._largest: np.ndarray | None = None  # output of each unit

    def add(self, inputs: Any, outputs: Any) -> None:
        """Take in inputs and outputs of the non-linearity for a batch, both `[N, ..., units]`."""
        outputs = ops.cast(outputs, "float32")
        self._add_moments(outputs)
        if self._top is not None:
            is_saturated = ops.logical_or(outputs == 0, outputs == self._top)
            self._saturated += _count(is_saturated)
            positions = tuple(range(outputs.ndim - 1))
            largest = ops.max(outputs, axis=positions)
            largest = ops.convert_to_numpy(largest)
            if self._largest is not None:
                largest = np.maximum(self._largest, largest)
            self._largest = largest
        elif self._function is not None:
            inputs = ops.cast(inputs, "float32")
            above = self._function(inputs + _STEP)
            below = self._function(inputs - _STEP)
            rise = ops.abs(above - below)
            self._saturated += _count(rise < 2 * _STEP * SATURATED)

    def figures(self) -> dict[str, Any]:
        """Return mean, spread, saturated, units and dead, as `ActivationMonitor` describes them."""
        figures: dict[str, Any] = {
            "mean": self._mean,
            "spread": math.sqrt(self._squares / self.count),
            "saturated": None,
            "units": None,
            "dead": None,
        }
        if self._top is not None or self._function is not None:
            figures["saturated"] = self._saturated / self.count
        if self._largest is not None:
            figures["units"] = len(self._largest)
            figures["dead"] = np.flatnonzero(self._largest <= 0).tolist()
        return figures

    def _add_moments(self, outputs: Any) -> None:
        # Chan, Golub and LeVeque 1979: sums of squares from zero would lose what is small beside
        # the mean.
        size = math.prod(outputs.shape)
        total = self.count + size
        mean = float(ops.mean(outputs))
        variance = float(ops.var(outputs))
        apart = mean - self._mean
        between = apart**2 * self.count * size / total
        self._squares += variance * size + between
        self._mean += apart * size / total
        self.count = total


def _count(mask: Any) -> int:
    return int(ops.sum(ops.cast(mask, "int32")))
