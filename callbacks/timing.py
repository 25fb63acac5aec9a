"""Where the time of a training goes."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from epochal.callbacks.parts.failure import undo_by_next_fit, undone
from epochal.callbacks.parts.fetching import Fetching
from epochal.callbacks.parts.files import write_whole
from epochal.callbacks.parts.iterations import Iterations
from epochal.callbacks.parts.phase import Phase

_ENOUGH = 20  # iterations before the median is judged
_LIMIT = 0.5  # seconds


class Timing(keras.callbacks.Callback):
    """Measures what iterations, evaluation and callbacks take; to stand first in the list.

    Every moment from the first epoch on belongs to one part: `input` (the wait for a batch), `step` (until its logs are
    there), `callbacks` (of an iteration, with Keras' own loop), `epoch_callbacks`, `evaluation`, `first_step` (any that
    traces the graph; counted in no other), and `checkpoints`, made within `saving()`. The wait is told from the step on
    TensorFlow with one step an execution; other backends fetch a batch before the step begins, which counts among the
    callbacks. It waits for no device that Keras does not wait for. The clock is monotonic; median and percentile are
    exact to half a percent.

    Args:
        path: JSON file for the figures, in seconds, written anew after every epoch.
        warn: called once, with a line, if the median iteration takes more than half a second: what bounds it, shares.
    """

    phase = Phase.MEASURE
    key = "timing"

    def __init__(self, path: str | Path, *, warn: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.warn = warn
        self.warned = False
        self._watch = Iterations()
        self._fetching: Fetching | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier fits."""
        self._release()
        self._watch = Iterations()
        self.warned = False
        self._fetching = Fetching(self.model, self._watch)
        undo_by_next_fit(self, self._release)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Goes on with what lies between the steps of two epochs."""
        self._watch.switch("epoch_callbacks")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Closes what came before."""
        self._watch.switch("callbacks" if self._fetching and self._fetching.apart else "step")
        self._watch.close("epoch_callbacks")
        self._watch.begin_step(batch)
        if self._watch.durations["iteration"].times == _ENOUGH:
            self._judge()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """The logs are there: the step is done. After an epoch's last, Keras makes evaluation ready."""
        last = batch + 1 == (self.params or {}).get("steps")
        self._watch.switch("epoch_callbacks" if last else "callbacks")
        self._watch.end_step(batch)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins an evaluation."""
        self._watch.switch("evaluation")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends it."""
        self._watch.switch("epoch_callbacks")
        self._watch.close("evaluation")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judges and writes; the other callbacks of the epoch's end follow, and count when they are done."""
        self._watch.switch("epoch_callbacks")
        self._watch.close_step()
        self._judge()
        self._write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Writes all of it."""
        self._watch.switch("")
        self._watch.close("epoch_callbacks")
        self._write()
        self._release()

    def saving(self) -> AbstractContextManager[None]:
        """What a checkpoint is made within: its time is charged to `checkpoints` and to no other part."""
        return self._watch.measure("checkpoints")

    def get_state(self) -> dict[str, Any]:
        """Returns all durations so far."""
        return {"durations": self._watch.get_state(), "warned": self.warned}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self._watch.set_state(state["durations"])
        self.warned = bool(state["warned"])

    @property
    def summary(self) -> dict[str, Any]:
        """What the file holds: `bound` (data-bound, compute-bound, callback-bound) and the figures of each part."""
        return self._watch.summary()

    def _judge(self) -> None:
        line = self._watch.warning(_LIMIT)
        if line and self.warn and not self.warned:
            self.warned = True
            self.warn(line)

    def _write(self) -> None:
        write_whole(self.path, json.dumps(self.summary, indent=1).encode())

    def _release(self) -> None:
        if self._fetching:
            self._fetching.release()
            undone(self.model, self._release)
