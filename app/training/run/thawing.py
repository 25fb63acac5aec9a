"""Thawing in words: the layers that are frozen at first, and when they are trained."""

import math
from typing import Any

import keras

from epochal.app.config import Optim
from epochal.app.process.log import RUN_LOG
from epochal.callbacks.parts.frozen import frozen_in, frozen_parts
from epochal.callbacks.parts.phase import Phase

_NAMED = 8  # layers at most, by name


class Thawing(keras.callbacks.Callback):
    """Tells the user what `Freezing` does to the same model.

    Args:
        optim: with the pattern of what is frozen
    """

    phase = Phase.STEER

    def __init__(self, optim: Optim) -> None:
        super().__init__()
        self._optim = optim
        self._parts: list[list[Any]] = []
        self._frozen_before: list[Any] | None = None  # in the epoch before

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the weights, none of which is frozen yet."""
        self._parts = frozen_parts(self.model, self._optim.frozen or "")
        self._frozen_before = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Compare with the epoch before."""
        frozen = frozen_in(epoch, self._parts, self._optim.unfreeze_every)
        before = self._frozen_before
        self._frozen_before = frozen
        if before is None and frozen:
            total = self.model.count_params()
            RUN_LOG.info(f"frozen: {_layers(frozen)} ({_count(frozen):,} of {total:,} weights)")
        elif before is not None and len(frozen) < len(before):
            thawed = before[len(frozen) :]
            RUN_LOG.info(
                f"epoch {epoch + 1}: trained from now on: {_layers(thawed)} "
                f"({_count(thawed):,} weights)"
            )


def _count(weights: list[Any]) -> int:
    count = 0
    for weight in weights:
        count += math.prod(weight.shape)
    return count


def _layers(weights: list[Any]) -> str:
    """Name the layers that the weights belong to."""
    names: list[str] = []
    for weight in weights:
        name = weight.path.rpartition("/")[0]
        if name not in names:
            names.append(name)
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], "...", names[-1]]
    return ", ".join(names)
