"""Weights, gradients and updates for TensorBoard."""

import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.batch_gradients import BatchGradients
from epochal.callbacks.parts.events import EventFile
from epochal.callbacks.parts.failure import undo_on_failure
from epochal.callbacks.parts.phase import Phase


class WeightHistograms(keras.callbacks.Callback):
    """Writes histograms and norms of all weights, of their updates, and of the gradients on one batch, to TensorBoard.

    An update is what the last step before the writing added to a trainable weight, decay and all; the norm of a healthy
    one is about a thousandth of the weight's. Where the number of steps is not known, the first epoch has none. The
    gradients are those of the loss in inference mode (moving statistics, no dropout), so that epochs compare; computing
    them changes neither weights, statistics, metrics nor random state.

    Args:
        log_dir: folder of the event file, made when there is something to write.
        batch: `(x, y)` to compute the gradients on, as the model takes them; None writes no gradients.
        every: write after epochs 0, every, 2 * every, ...
        every_steps: write whenever the optimizer's count of steps reaches a multiple of this, instead of after epochs.

    Raises:
        ValueError: `every` or `every_steps` below 1, or a batch that is not `(x, y)`.
    """

    phase = Phase.RECORD

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        *,
        batch: tuple[Any, Any] | None = None,
        every: int = 1,
        every_steps: int | None = None,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}.")
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"every_steps must be at least 1 step, got {every_steps}.")
        if batch is not None and len(batch) != 2:
            raise ValueError(f"batch must be (x, y), got {len(batch)} parts.")
        self.log_dir = os.fspath(log_dir)
        self.batch = batch
        self.every = every
        self.every_steps = every_steps
        self._events = EventFile(self.log_dir)
        self._gradients: BatchGradients | None = None
        self._before: list[np.ndarray] | None = (
            None  # the trainable weights ahead of a step whose update is written
        )
        self._count = 0  # the optimizer's, when they were kept
        self._steps = self._last = 0  # of an epoch; the last is 0 where its update is not written

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        self._events.close()
        self._gradients = None
        self._before = None
        self._steps = 0
        if self.batch is not None:
            require_tensorflow(
                "WeightHistograms with a batch",
                "leave the batch out: weights are written all the same",
            )
            self._gradients = BatchGradients(self.model, self.batch, training=False, penalties=True)
        undo_on_failure(self, self._events.close)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes whether it is the epoch's turn, and which step will be its last."""
        turn = not self.every_steps and epoch % self.every == 0
        self._last = ((self.params or {}).get("steps") or self._steps) if turn else 0
        self._before = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the weights, if the step's update will be written."""
        if self._is_due(batch):
            self._count = self._iteration()
            self._before = [variable.numpy() for variable in self.model.trainable_variables]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Writes, if it is the step's turn."""
        self._steps = batch + 1
        done = self._iteration() if self.every_steps and self._before is not None else 0
        if (
            self.every_steps and done // self.every_steps > self._count // self.every_steps
        ):  # gradients may accumulate
            self._write(done)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes, if it is the epoch's turn."""
        if not self.every_steps and epoch % self.every == 0:
            self._write(epoch)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the event file."""
        self._events.close()

    def _is_due(self, batch: int) -> bool:
        together = getattr(self.model, "steps_per_execution", 1)
        if self.every_steps:
            done = self._iteration()
            return (done + together) // self.every_steps > done // self.every_steps
        return batch < self._last <= batch + together

    def _iteration(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _write(self, step: int) -> None:
        kinds: dict[str, Iterable[tuple[str, np.ndarray]]] = {
            "weight": ((v.path, v.numpy()) for v in self.model.weights if "float" in v.dtype)
        }
        if self._gradients is not None:
            kinds["gradient"] = ((path, value.numpy()) for path, value in self._gradients().items())
        if self._before is not None:
            pairs = zip(self.model.trainable_variables, self._before, strict=True)
            kinds["update"] = (
                (variable.path, variable.numpy() - before) for variable, before in pairs
            )
        self._events.write(step, kinds)
        self._before = None
