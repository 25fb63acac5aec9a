"""A learning rate that falls in steps."""

from collections.abc import Sequence
from typing import Any

import keras

from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import learning_rate, set_learning_rate
from epochal.callbacks.schedules import stepped


def decayed(
    base: float,
    epoch: int,
    *,
    milestones: Sequence[int] | None = None,
    every: int | None = None,
    factor: float = 0.1,
) -> float:
    """Returns the learning rate of `epoch` (counted from 0): `base * factor**k`.

    k is the number of `milestones` at or before `epoch`, or `epoch // every`.
    """
    if every is not None:
        return base * factor ** (epoch // every)
    return base * stepped(epoch, milestones or (), factor)


class StepDecay(keras.callbacks.Callback):
    """Multiplies the learning rate by `factor` at the given epochs, or every so many.

    The schedule of the residual networks (He et al. 2016, arXiv:1512.03385, section 4.2). The rate of an
    epoch follows from the epoch and the base rate alone. The base is the optimizer's rate when training
    begins, unless that is what an earlier fit of this instance left there. Logs `learning_rate`.

    Args:
        milestones: epochs, counted from 0, from which on the rate is lower; or
        every: the number of epochs between two steps. Exactly one of the two.
        factor: what each step multiplies the rate by, above 0 and below 1.

    Raises:
        ValueError: arguments out of range, or (when training begins) an optimizer with its own schedule.
    """

    phase = Phase.STEER
    key = "step_decay"

    def __init__(
        self,
        milestones: Sequence[int] | None = None,
        *,
        every: int | None = None,
        factor: float = 0.1,
    ) -> None:
        super().__init__()
        if (milestones is None) == (every is None):
            raise ValueError(
                f"Give either milestones or every, got milestones={milestones}, every={every}."
            )
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}.")
        if milestones is not None and any(epoch < 0 for epoch in milestones):
            raise ValueError(f"milestones are epochs counted from 0, got {list(milestones)}.")
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}.")
        self.milestones = milestones
        self.every = every
        self.factor = factor
        self.base = 0.0
        self._left: tuple[Any, float] | None = (
            None  # the optimizer last touched, and the rate it was left with
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Reads the base rate."""
        rate = learning_rate(self.model)
        self._set(rate)
        # The rate left by an earlier fit is not a base: taking it for one would decay twice.
        if self._left is None or self._left[0] is not self.model.optimizer or self._left[1] != rate:
            self.base = rate

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the epoch's rate."""
        self._set(
            decayed(
                self.base, epoch, milestones=self.milestones, every=self.every, factor=self.factor
            )
        )
        self._left = (self.model.optimizer, learning_rate(self.model))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch's rate."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model)

    def get_state(self) -> dict[str, float]:
        """Returns the base rate, so that a resumed run does not take its decayed rate for the base."""
        return {"base": self.base}

    def set_state(self, state: dict[str, float]) -> None:
        """Takes over what `get_state` returned."""
        self.base = float(state["base"])

    def _set(self, rate: float) -> None:
        set_learning_rate(self.model, rate, "StepDecay")
