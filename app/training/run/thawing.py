"""Which layers are frozen, in words: at first, and whenever one thaws."""

from typing import Any

import keras
import numpy as np

from epochal.app.config import Optim
from epochal.app.process.log import RUN_LOG
from epochal.callbacks.parts.frozen import frozen_in, frozen_parts

_NAMED = 8  # layers at most, by name


class Thawing(keras.callbacks.Callback):
    """Tells what `Freezing` does to the same model: what is frozen when training begins, what is trained from when on.

    Args:
        optim: with the pattern of what is frozen.
    """

    def __init__(self, optim: Optim) -> None:
        super().__init__()
        self._optim = optim
        self._parts: list[list[Any]] = []
        self._frozen: list[Any] | None = None  # in the epoch before

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the weights, none of which is frozen yet."""
        self._parts = frozen_parts(self.model, self._optim.frozen or "")
        self._frozen = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Compares with the epoch before."""
        frozen = frozen_in(epoch, self._parts, self._optim.unfreeze_every)
        if self._frozen is None and frozen:
            RUN_LOG.info(
                f"frozen: {_layers(frozen)} ({_count(frozen):,} of {self.model.count_params():,} weights)"
            )
        elif self._frozen and (thawed := self._frozen[len(frozen) :]):
            RUN_LOG.info(
                f"epoch {epoch + 1}: trained from now on: {_layers(thawed)} ({_count(thawed):,} weights)"
            )
        self._frozen = frozen


def _count(weights: list[Any]) -> int:
    return sum(int(np.prod(weight.shape)) for weight in weights)


def _layers(weights: list[Any]) -> str:
    """The layers that the weights are of."""
    names = list(dict.fromkeys(weight.path.rpartition("/")[0] for weight in weights))
    return ", ".join(names if len(names) <= _NAMED else [*names[: _NAMED - 1], "...", names[-1]])
