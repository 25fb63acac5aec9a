"""Checkpoints of a run that is going on: saved by time and on request, resumed to the bit."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import keras

from epochal.app.config.config import MOST_DEVICES
from epochal.app.data.pipeline import Position
from epochal.app.errors import StorageError
from epochal.app.store import arrays as archive
from epochal.app.store import files as storage
from epochal.app.training.run import state
from epochal.callbacks.parts.phase import Phase, Stateful, sort_callbacks

# Of the format: since 2, states of callbacks stand under their keys; since 3, metrics by device.
VERSION = 3
_KEPT = 2  # the newest, and the one before in case the newest is damaged
_KEYS = {  # of the states that version 1 stored under the names of classes
    "BestWeights": "best_weights",
    "Budget": "budget",
    "EarlyStopping": "early_stopping",
    "ExponentialMovingAverage": "exponential_moving_average",
    "GradientClipping": "gradient_clipping",
    "GradientFlow": "gradient_flow",
    "History": "history",
    "PlateauDecay": "plateau_decay",
    "Progress": "progress",
    "SampleLosses": "sample_losses",
    "StepDecay": "step_decay",
    "StuckDecay": "stuck_decay",
    "Timing": "timing",
    "TrainingLog": "training_log",
}
_LOG = logging.getLogger(__name__)


@runtime_checkable
class StepsAside(Protocol):
    """A callback that leaves the model, or measures, while a checkpoint is made."""

    def saving(self) -> AbstractContextManager[None]:
        """Return a context in which the model has its own weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A place in training, the state there, and values that a resumed run must share.

    The default is the beginning of a training, which has no state.

    Args:
        epoch, step: epochs that are done, and steps of the next
        ended: whether training is over, by patience or a budget; whatever epochs are left, only
            evaluation follows
        elapsed: seconds of training
        identity: configuration and data, as `Setup.identity` returns them
        rollbacks: number of them that its learning rate takes into account
        arrays: all variables by name, and the arrays of callbacks
        callbacks: states by key
    """

    epoch: int = 0
    step: int = 0
    ended: bool = False
    elapsed: float = 0.0
    identity: dict[str, Any] = field(default_factory=dict)
    rollbacks: int = 0
    arrays: state.Arrays = field(default_factory=dict, repr=False)
    callbacks: state.States = field(default_factory=dict, repr=False)


class Trigger:
    """Tells when to save: so that at most `seconds` of work are lost, and before a requested stop.

    Args:
        seconds: the longest time between two checkpoints
        stopping: tells whether the user asked to stop
    """

    def __init__(self, seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
        self.stopping = stopping
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._looked = time.monotonic()
        self._saved = self._looked

    def saved(self) -> None:
        """Note that a checkpoint was made."""
        self._saved = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether waiting for another step would lose too much; ask after each."""
        now = time.monotonic()
        last_step = now - self._looked
        self._looked = now
        return now - self._saved + last_step >= self._seconds


class Checkpoints(keras.callbacks.Callback):
    """Saves all of training's state when it is time, and before a stop, which it carries out.

    Batch positions, not iterators, say where training stands, so that a resumed run sees the same
    images as one that was never stopped.

    Args:
        folder: where checkpoints are published, as epoch-000012-step-00001234/: epochs done, and
            steps of the next
        watching: the other callbacks of the run, whose states belong to a checkpoint
        begin: the place that training begins at or goes on from
        trigger: tells when to save
        position: of the training data; moved here at the start of each epoch
        rollbacks: how often the run went back so far

    Raises:
        KeyboardInterrupt: after the state was saved, because the user asked to stop.
    """

    phase = Phase.SAVE

    def __init__(
        self,
        folder: Path,
        watching: Iterable[Any],
        *,
        begin: Checkpoint,
        trigger: Trigger,
        position: Position,
        rollbacks: int = 0,
    ) -> None:
        super().__init__()
        self.begin = begin
        self._folder = folder
        self._watching = sort_callbacks(watching)
        self._stateful = [callback for callback in self._watching if isinstance(callback, Stateful)]
        self._trigger = trigger
        self._position = position
        self.rollbacks = rollbacks
        self._epoch = 0
        self._step = 0
        self._ended = False
        self._metrics: state.Arrays = {}
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, those before a stop included."""
        return self.begin.elapsed + time.monotonic() - self._began

    def on_train_begin(self, logs: Any = None) -> None:
        """Give callbacks the state they had when the checkpoint was made, or save the beginning."""
        self._began = time.monotonic()
        self._trigger.restart()
        if self.begin.arrays:
            for callback in self._stateful:
                if callback.key in self.begin.callbacks:
                    callback.set_state(self.begin.callbacks[callback.key])
                else:
                    _LOG.info(f"the checkpoint has no state of {callback.key}, which begins anew")
        else:  # so that what training was started from is never needed again
            self.save()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Move the data to the epoch, and within it to where the checkpoint stood."""
        self._epoch = epoch
        self._step = 0
        if self.begin.epoch == epoch and self.begin.step:
            self._step = self.begin.step
            for name, variable in state.metric_variables(self.model).items():
                variable.assign(self.begin.arrays[name])
            self._metrics = self._metric_values()
        self._position.set(epoch, self._step)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save if it is time."""
        self._step = batch + 1
        if self._step == self.params["steps"] or self.model.stop_training:
            self._metrics = self._metric_values()  # validation will overwrite them
        self._save_if_due()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Save if it is time: during validation, the state of the epoch's last step."""
        self._save_if_due(metrics=self._metrics)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the place before the next epoch's first step if it is time, or the last epoch."""
        self._epoch = epoch + 1
        self._step = 0
        self._ended = self.model.stop_training
        is_last = self._ended or self._epoch == self.params["epochs"]
        self._save_if_due(anyway=is_last)

    def _save_if_due(self, metrics: state.Arrays | None = None, *, anyway: bool = False) -> None:
        is_due = self._trigger.is_due()
        is_stopping = self._trigger.stopping()
        if is_due or is_stopping or anyway:
            self.save(metrics)
        if is_stopping:
            raise KeyboardInterrupt

    def save(self, metrics: state.Arrays | None = None) -> None:
        """Publish a checkpoint of this moment, and delete all but the newest two.

        `metrics` stand in place of the model's.
        A state that is not finite is not saved: the checkpoint before it stays the last good one.
        """
        with ExitStack() as stack:
            for callback in self._watching:
                if isinstance(callback, StepsAside):
                    stack.enter_context(callback.saving())
            self._publish(metrics or {})

    def _publish(self, metrics: state.Arrays) -> None:
        arrays = archive.arrays_of(state.variables_of(self.model)) | metrics
        if not archive.all_finite(arrays):
            return
        states = {}
        for callback in self._stateful:
            states[callback.key] = callback.get_state()
        more_arrays, plain = state.split_states(states)
        place = self._folder / _name(self._epoch, self._step)
        if not place.exists():
            values = {
                "version": VERSION,
                "epoch": self._epoch,
                "step": self._step,
                "ended": self._ended,
                "elapsed": self.elapsed,
                "identity": self.begin.identity,
                "rollbacks": self.rollbacks,
                "callbacks": plain,
            }
            archive.save(place, arrays | more_arrays, values)
        for old in _published(self._folder)[_KEPT:]:
            storage.remove_published(old)
        self._trigger.saved()

    def _metric_values(self) -> state.Arrays:
        return archive.arrays_of(state.metric_variables(self.model))


def restore_variables(checkpoint: Checkpoint, model: Any) -> None:
    """Give the variables of a compiled, built model the values of the checkpoint.

    Those of metrics come again after `fit` has reset them.
    """
    arrays = {}
    for name, array in checkpoint.arrays.items():
        if not name.startswith(state.CALLBACKS):
            arrays[name] = array
    variables = state.variables_of(model)
    place = Path(_name(checkpoint.epoch, checkpoint.step))
    archive.assign(variables, arrays, place)


def newest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that is whole, or None when none was made.

    A damaged one is named in a warning, and the one before it is used.

    Raises:
        StorageError: checkpoints exist and all are damaged, or it is of a later version.
    """
    storage.sweep(folder)
    published = _published(folder)
    for place in published:
        try:
            arrays, values = archive.load(place)
        except StorageError as error:
            _LOG.warning(f"damaged checkpoint passed over: {error}")
            # Its name is needed again; where it cannot be moved, saving will say so.
            with suppress(OSError):
                place.rename(place.with_name(f"damaged-{place.name}"))
            continue
        return _checkpoint_from(arrays, values, place)
    if published:
        raise StorageError(
            f"{folder}: every checkpoint is damaged; start the run again with its config.yaml"
        )
    return None


def pass_over(folder: Path, checkpoint: Checkpoint) -> bool:
    """Delete a checkpoint that led nowhere, if there is one before it; return whether it did."""
    place = folder / _name(checkpoint.epoch, checkpoint.step)
    if _published(folder)[-1:] == [place]:
        return False
    storage.remove_published(place)
    return True


def _checkpoint_from(arrays: state.Arrays, values: dict[str, Any], place: Path) -> Checkpoint:
    """Return what a published checkpoint holds.

    Arrays and states of earlier versions get the names of today.

    Raises:
        StorageError: naming its version when that is a later one.
    """
    version = values.pop("version", 1)
    if not isinstance(version, int):
        raise StorageError(f"{place} is damaged; start the run again with its config.yaml")
    if version > VERSION:
        raise StorageError(
            f"{place}: a checkpoint of version {version}, this epochal reads versions up to "
            f"{VERSION}; "
            "resume the run with the epochal that began it"
        )
    try:
        states = values.pop("callbacks")
        if version == 1:
            arrays = {_renamed(name): array for name, array in arrays.items()}
            old_states = states
            states = {}
            for name, plain in old_states.items():
                if name in _KEYS:
                    states[_KEYS[name]] = plain
        if version < 3:
            config = values["identity"].get("config", {})
            devices = config.get("devices", 1)
            if devices not in range(1, MOST_DEVICES + 1):
                raise ValueError(f"devices: {devices}")
            arrays = _shared_out(arrays, devices)
        joined = state.join_states(arrays, states)
        return Checkpoint(arrays=arrays, callbacks=joined, **values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(
            f"{place} is damaged ({error}); start the run again with its config.yaml"
        ) from error


def _renamed(name: str) -> str:
    """Return the name of an array, of a callback's with the key in place of the class."""
    if not name.startswith(state.CALLBACKS):
        return name
    group, owner, rest = name.split("/", 2)
    return f"{group}/{_KEYS.get(owner, owner)}/{rest}"


def _shared_out(arrays: state.Arrays, devices: int) -> state.Arrays:
    """Return the arrays with an equal share of each metric's sum for every device."""
    shared: state.Arrays = {}
    for name, array in arrays.items():
        if name.startswith(state.METRICS):
            for device in range(devices):
                shared[state.name_of_share(name, device, devices)] = array / devices
        else:
            shared[name] = array
    return shared


def _name(epoch: int, step: int) -> str:
    return f"epoch-{epoch:06d}-step-{step:08d}"


def _published(folder: Path) -> list[Path]:
    return sorted(folder.glob("epoch-*"), reverse=True)
