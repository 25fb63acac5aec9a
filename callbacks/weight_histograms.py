"""Histograms of weights, gradients and updates for TensorBoard."""

import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.batch_gradients import BatchGradients
from epochal.callbacks.parts.cleanup import call_on_failure
from epochal.callbacks.parts.event_file import EventFile
from epochal.callbacks.parts.every import passes_multiple, require_at_least_one
from epochal.callbacks.parts.optimizer import iteration_of
from epochal.callbacks.parts.phase import Phase


class WeightHistograms(keras.callbacks.Callback):
    """Writes histograms and norms of weights, updates and one batch's gradients to TensorBoard.

    An update is what the last step before the writing added to a trainable weight, decay and all;
    the norm of a healthy one is about a thousandth of the weight's. Where the number of steps is
    not known, the first epoch has none. The gradients are those of the loss in inference mode
    (moving statistics, no dropout), so that epochs compare; computing them changes neither weights,
    statistics, metrics nor random state.

    Args:
        log_dir: folder of the event file, made when there is something to write.
        batch: `(x, y)` to compute the gradients on, as the model takes them; None writes no
            gradients.
        every: write after epochs 0, every, 2 * every, ...
        every_steps: write whenever the optimizer's count of steps reaches a multiple of this,
            instead of after epochs.

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
        require_at_least_one("every", every, "epoch")
        if every_steps is not None:
            require_at_least_one("every_steps", every_steps, "step")
        if batch is not None and len(batch) != 2:
            raise ValueError(f"batch must be (x, y), got {len(batch)} parts.")
        self.log_dir = os.fspath(log_dir)
        self.batch = batch
        self.every = every
        self.every_steps = every_steps
        self._events = EventFile(self.log_dir)
        self._gradients: BatchGradients | None = None
        self._before: list[np.ndarray] | None = None  # weights, ahead of a step to be written
        self._iteration_before = 0
        self._steps = 0  # of the latest epoch
        self._last_step = 0  # of the epoch; 0 where its update is not written

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._events.close()
        self._gradients = None
        self._before = None
        self._steps = 0
        if self.batch is not None:
            require_tensorflow(
                "WeightHistograms with a batch",
                "leave the batch out: weights are written all the same",
            )
            self._gradients = BatchGradients(
                self.model,
                self.batch,
                training=False,
                penalties=True,
            )
        call_on_failure(self, self._events.close)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note whether it is the epoch's turn, and which step will be its last."""
        self._before = None
        self._last_step = 0
        if self._is_turn_of(epoch):
            self._last_step = (self.params or {}).get("steps") or self._steps

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights, if the step's update will be written."""
        steps = getattr(self.model, "steps_per_execution", 1)
        if self.every_steps:
            self._iteration_before = iteration_of(self.model)
            end = self._iteration_before + steps
            is_due = passes_multiple(
                self._iteration_before,
                end,
                self.every_steps,
            )
        else:
            is_due = batch < self._last_step <= batch + steps
        if is_due:
            self._before = [variable.numpy() for variable in self.model.trainable_variables]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Write, if it is the step's turn."""
        self._steps = batch + 1
        if self.every_steps and self._before is not None:
            iteration = iteration_of(self.model)
            # Where gradients accumulate, the count stands still.
            if passes_multiple(
                self._iteration_before,
                iteration,
                self.every_steps,
            ):
                self._write(iteration)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write, if it is the epoch's turn."""
        if self._is_turn_of(epoch):
            self._write(epoch)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the event file."""
        self._events.close()

    def _is_turn_of(self, epoch: int) -> bool:
        return not self.every_steps and passes_multiple(
            epoch - 1,
            epoch,
            self.every,
        )

    def _write(self, step: int) -> None:
        model = self.model
        arrays: dict[str, Iterable[tuple[str, np.ndarray]]] = {}
        arrays["weight"] = (
            (weight.path, weight.numpy()) for weight in model.weights if "float" in weight.dtype
        )
        if self._gradients is not None:
            gradients = self._gradients()
            arrays["gradient"] = ((path, value.numpy()) for path, value in gradients.items())
        if self._before is not None:
            pairs = zip(
                model.trainable_variables,
                self._before,
                strict=True,
            )
            arrays["update"] = (
                (variable.path, variable.numpy() - before) for variable, before in pairs
            )
        self._events.write(step, arrays)
        self._before = None
