"""Checkpoints of a run that is going on: saved by time and on request, resumed to the bit."""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from epochal.app.data.pipeline import Position
from epochal.app.errors import StorageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.training.run import state
from epochal.app.training.step.learning_rate import slowed

_LOG = logging.getLogger(__name__)
_KEPT = 2  # the newest, and the one before in case the newest is damaged


@dataclass(kw_only=True)
class Checkpoint:
    """What a checkpoint holds beyond variables: the place in training, and values that must not have changed."""

    epoch: int
    step: int
    ended: (
        bool  # training, by patience or a budget: whatever epochs are left, only evaluation follows
    )
    elapsed: float
    identity: dict[str, Any]
    rollbacks: int = 0  # that its learning rate has in it
    arrays: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)


class Checkpoints(keras.callbacks.Callback):
    """Saves all of training's state so that at most `seconds` of work is lost, and before a requested stop.

    Stands last in the list of callbacks: what it saves is after the others have seen the step. Batch positions, not
    iterators, say where training stands, so a resumed run sees the same images as one that was never stopped.

    Args:
        folder: where checkpoints are published, as epoch-000012-step-00001234/: epochs done, and steps of the next.
        seconds: the longest time between checkpoints.
        position: of the training data; moved here at the start of each epoch.
        stopping: tells whether the user asked to stop; then the state is saved at that very step.
        identity: values that a checkpoint must share with the run that resumes it.
        rollbacks: how often the run went back, each time to a tenth of the rate; None where it never will.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seconds: float,
        position: Position,
        stopping: Callable[[], bool],
        identity: dict[str, Any],
        rollbacks: int | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._seconds = seconds
        self._position = position
        self._stopping = stopping
        self._identity = identity
        self._rollbacks = rollbacks
        self._resumed: Checkpoint | None = None
        self._others: list[Any] = []
        self._epoch = 0
        self._step = 0
        self._ended = False
        self._metrics: dict[str, np.ndarray] = {}
        self._began = self._saved = self._stepped = time.monotonic()

    def watch(self, callbacks: list[Any]) -> None:
        """Names the callbacks whose state belongs to the checkpoint."""
        self._others = [callback for callback in callbacks if hasattr(callback, "get_state")]

    def resume(self, checkpoint: Checkpoint) -> None:
        """Puts variables back; callbacks and metrics follow when `fit` has reset them."""
        own = {
            name: array
            for name, array in checkpoint.arrays.items()
            if not name.startswith(state.CALLBACKS)
        }
        archive.assign(state.variables_of(self.model), own, self._folder)
        if since := (self._rollbacks or 0) - checkpoint.rollbacks:
            optimizer = self.model.optimizer
            optimizer.learning_rate = slowed(float(optimizer.learning_rate.numpy()), since)
        self.model.steps_to_skip = (
            checkpoint.step
        )  # callbacks ahead of this one ask whether the epoch was begun before
        self._resumed = checkpoint

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, those before a stop included."""
        before = self._resumed.elapsed if self._resumed else 0.0
        return before + time.monotonic() - self._began

    def on_train_begin(self, logs: Any = None) -> None:
        """Gives callbacks the state they had when the checkpoint was made, or saves the beginning."""
        self._began = self._saved = self._stepped = time.monotonic()
        if self._resumed:
            for callback in self._others:
                callback.set_state(self._resumed.callbacks[_name(callback)])
        else:  # so that what training was started from is never needed again
            self.save()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Moves the data to the epoch, and within it to where the checkpoint stood."""
        self._epoch = epoch
        self._step = 0
        if self._resumed and self._resumed.epoch == epoch and self._resumed.step:
            self._step = self._resumed.step
            metrics = {
                n: v for n, v in state.variables_of(self.model).items() if n.startswith("metrics/")
            }
            for name, variable in metrics.items():
                variable.assign(self._resumed.arrays[name])
            self._metrics = self._metric_values()
        self.model.steps_to_skip = self._step
        self._position.set(epoch, self._step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves when it is time, or when a stop was asked for."""
        self._step = batch + 1
        if self._step == self.params["steps"] or self.model.stop_training:
            self._metrics = self._metric_values()  # validation will overwrite them
        if self._due() or self._stopping():
            self.save()
            self._stop_if_asked()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """During validation the state to save is that of the epoch's last step."""
        if self._due() or self._stopping():
            self.save(metrics=self._metrics)
            self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """The next place to go on from is the next epoch's first step."""
        self._epoch = epoch + 1
        self._step = 0
        self._ended = self.model.stop_training
        if self._due() or self._ended or self._epoch == self.params["epochs"] or self._stopping():
            self.save()
            self._stop_if_asked()

    def save(self, metrics: dict[str, np.ndarray] | None = None) -> None:
        """Publishes a checkpoint of this moment and deletes all but the newest two.

        A state that is not finite is not saved: the checkpoint before it stays the last good one. A callback may
        have a context for this (`saving()`): to take out weights that are in the model for validation, or to measure.
        """
        with ExitStack() as stack:
            for callback in self._others:
                if hasattr(callback, "saving"):
                    stack.enter_context(callback.saving())
            self._save(metrics or {})

    def _save(self, metrics: dict[str, np.ndarray]) -> None:
        arrays = archive.arrays_of(state.variables_of(self.model)) | metrics
        if not archive.all_finite(arrays):
            return
        more, values = state.split_states(
            {_name(callback): callback.get_state() for callback in self._others}
        )
        name = _place(self._epoch, self._step)
        if not (self._folder / name).exists():
            place = {
                "epoch": self._epoch,
                "step": self._step,
                "ended": self._ended,
                "elapsed": self.elapsed,
            }
            given = {"identity": self._identity, "rollbacks": self._rollbacks or 0}
            archive.save(
                self._folder / name, arrays | more, {**place, **given, "callbacks": values}
            )
        for old in _published(self._folder)[_KEPT:]:
            storage.remove_published(old)
        self._saved = time.monotonic()

    def _metric_values(self) -> dict[str, np.ndarray]:
        named = state.variables_of(self.model)
        return archive.arrays_of(
            {name: v for name, v in named.items() if name.startswith("metrics/")}
        )

    def _due(self) -> bool:
        """Whether waiting for the end of another step like the last one would lose too much."""
        now = time.monotonic()
        last = now - self._stepped
        self._stepped = now
        return now - self._saved + last >= self._seconds

    def _stop_if_asked(self) -> None:
        if self._stopping():
            raise KeyboardInterrupt


def newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None when none was made.

    A damaged one is named and the one before it is used.

    Raises:
        StorageError: when checkpoints exist and all are damaged.
    """
    storage.sweep(folder)
    published = _published(folder)
    for place in published:
        try:
            arrays, values = archive.load(place)
        except StorageError as error:
            _LOG.warning(f"damaged checkpoint passed over: {error}")
            with suppress(
                OSError
            ):  # its name is needed again; where it cannot be moved, saving will say so
                place.rename(place.with_name(f"damaged-{place.name}"))
            continue
        callbacks = state.join_states(arrays, values.pop("callbacks"))
        return Checkpoint(arrays=arrays, callbacks=callbacks, **values)
    if published:
        raise StorageError(
            f"{folder}: every checkpoint is damaged; start the run again with its config.yaml"
        )
    return None


def pass_over(folder: Path, checkpoint: Checkpoint) -> bool:
    """Deletes a checkpoint from which nothing good came, if there is one before it; returns whether it did."""
    place = folder / _place(checkpoint.epoch, checkpoint.step)
    if _published(folder)[-1:] == [place]:
        return False
    storage.remove_published(place)
    return True


def _place(epoch: int, step: int) -> str:
    return f"epoch-{epoch:06d}-step-{step:08d}"


def _published(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"), reverse=True)


def _name(callback: Any) -> str:
    return type(callback).__name__
