"""A learning rate that falls in steps."""

from collections.abc import Sequence
from typing import Any

import keras

from epochal.callbacks.parts.every import require_at_least_one
from epochal.callbacks.parts.optimizer import learning_rate, set_learning_rate
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.schedules import stepped


def decayed(
    base: float,
    epoch: int,
    *,
    milestones: Sequence[int] | None = None,
    every: int | None = None,
    factor: float = 0.1,
) -> float:
    """Return the learning rate of `epoch` (counted from 0): `base * factor**k`.

    k is the number of `milestones` at or before `epoch`, or `epoch // every`.
    """
    if every is not None:
        return base * factor ** (epoch // every)
    return base * stepped(epoch, milestones or (), factor)


class StepDecay(keras.callbacks.Callback):
    """Multiplies the learning rate by `factor` at the given epochs, or every so many.

    The schedule of the residual networks (He et al. 2016, arXiv:1512.03385, section 4.2). The rate
    of an epoch follows from the epoch and the base rate alone. The base is the optimizer's rate
    when training begins, unless that is what an earlier fit of this instance left there. Logs
    `learning_rate`.

    Args:
        milestones: epochs, counted from 0, from which on the rate is lower; or
        every: the number of epochs between two steps. Exactly one of the two.
        factor: what each step multiplies the rate by, above 0 and below 1.

    Raises:
        ValueError: arguments out of range, or (when training begins) an optimizer with its own
            schedule.
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
        if every is not None:
            require_at_least_one("every", every, "epoch")
        if milestones is not None and any(epoch < 0 for epoch in milestones):
            raise ValueError(f"milestones are epochs counted from 0, got {list(milestones)}.")
        if not 0 < factor < 1:
            raise ValueError(f"factor must be above 0 and below 1, got {factor}.")
        self.milestones = milestones
        self.every = every
        self.factor = factor
        self.base = 0.0
        self._optimizer: Any = None  # of the latest epoch
        self._last_rate = 0.0  # that it was left with

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Read the base rate."""
        rate = learning_rate(self.model)
        set_learning_rate(self.model, rate, "StepDecay")
        # The rate left by an earlier fit is not a base: taking it for one would decay twice.
        if self._optimizer is not self.model.optimizer or self._last_rate != rate:
            self.base = rate

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the epoch's rate."""
        rate = decayed(
            self.base, epoch, milestones=self.milestones, every=self.every, factor=self.factor
        )
        set_learning_rate(self.model, rate, "StepDecay")
        self._optimizer = self.model.optimizer
        self._last_rate = learning_rate(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the epoch's rate."""
        if logs is not None:
            logs["learning_rate"] = learning_rate(self.model)

    def get_state(self) -> dict[str, float]:
        """Return the base rate: a resumed run must not take its decayed rate for the base."""
        return {"base": self.base}

    def set_state(self, state: dict[str, float]) -> None:
        """Take over what `get_state` returned."""
        self.base = float(state["base"])
