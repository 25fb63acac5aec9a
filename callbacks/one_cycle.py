"""A learning rate that rises once and falls for the rest, step by step."""

import math
from typing import Any

import keras

from callbacks.parts.rate import learning_rate, set_learning_rate


def one_cycle(step: int, steps: int, *, warm_up: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000) -> float:
    """Returns the share of the peak rate at `step` (counted from 0) of `steps`.

    Half a cosine up from `start` to 1 over the share `warm_up` of the steps, and half a cosine down to `end` at the
    last one; afterwards `end`.
    """
    turn, last = warm_up * steps - 1, steps - 1
    if step >= last:
        return end
    if step <= turn:
        low, place = start, 1 - step / turn if turn > 0 else 0.0
    else:
        low, place = end, (step - turn) / (last - turn)
    return low + (1 - low) * (1 + math.cos(math.pi * place)) / 2


class OneCycle(keras.callbacks.Callback):
    """Sets the rate of every step to `peak * one_cycle(step, steps)`.

    The schedule of Smith and Topin 2018 (arXiv:1708.07120), with cosines: few epochs then reach what steps need many
    for. The rate follows from the optimizer's count of steps alone, so that a resumed run goes on where it was. Logs
    the `learning_rate` of an epoch's last step.

    Args:
        peak: the highest rate.
        steps: of the whole training.
        shape: `warm_up`, `start` and `end` where they differ from those of `one_cycle`.

    Raises:
        ValueError: arguments out of range, or (when training begins) an optimizer with its own schedule.
    """

    def __init__(self, peak: float, steps: int, **shape: float) -> None:
        super().__init__()
        if not 0 < peak < math.inf:
            raise ValueError(f"peak must be above 0, got {peak}.")
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}.")
        one_cycle(0, steps, **shape)  # a misspelt name is refused here
        self.peak, self.steps, self.shape = peak, steps, shape

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the step's rate."""
        step = int(self.model.optimizer.iterations.numpy())
        set_learning_rate(self.model, self.peak * one_cycle(step, self.steps, **self.shape), "OneCycle")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Logs the rate."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model)
