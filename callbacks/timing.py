"""Time of a training, by what it is spent on."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import keras

from epochal.callbacks.parts.fetching import Fetching
from epochal.callbacks.parts.files import write_whole
from epochal.callbacks.parts.iteration_times import IterationTimes
from epochal.callbacks.parts.phase import Phase

_ENOUGH = 20  # iterations before the median is judged
_LIMIT = 0.5  # seconds


class Timing(keras.callbacks.Callback):
    """Measures what iterations, evaluation and callbacks take; to stand first in the list.

    Every moment from the first epoch on belongs to one part: `input` (the wait for a batch), `step`
    (until its logs are there), `callbacks` (of an iteration, with Keras' own loop),
    `epoch_callbacks`, `evaluation`, `first_step` (any that traces the graph; counted in no other),
    and `checkpoints`, made within `saving()`. The wait is told from the step on TensorFlow with one
    step an execution; other backends fetch a batch before the step begins, which counts among the
    callbacks. It waits for no device that Keras does not wait for. Median and percentile are exact
    to half a percent.

    Args:
        path: JSON file for the figures, in seconds, written anew after every epoch.
        warn: called once, with a line, if the median iteration takes more than half a second: what
            bounds it, shares.
        clock: returns the time in seconds; it never goes back.
    """

    phase = Phase.MEASURE
    key = "timing"

    def __init__(
        self,
        path: str | Path,
        *,
        warn: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.warn = warn
        self.warned = False
        self._clock = clock
        self._times = IterationTimes(clock)
        self._fetching: Fetching | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._release()
        self._times = IterationTimes(self._clock)
        self.warned = False
        self._fetching = Fetching(self, self._times)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Go on with what lies between the steps of two epochs."""
        self._times.switch("epoch_callbacks")

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Close what came before."""
        is_separate = self._fetching is not None and self._fetching.is_separate
        if is_separate:
            self._times.switch("callbacks")
        else:
            self._times.switch("step")
        self._times.close("epoch_callbacks")
        self._times.begin_step(batch)
        if self._times.durations["iteration"].times == _ENOUGH:
            self._warn_if_slow()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """End the step: its logs are there. After an epoch's last, Keras makes evaluation ready."""
        is_last = batch + 1 == (self.params or {}).get("steps")
        self._times.switch("epoch_callbacks" if is_last else "callbacks")
        self._times.end_step(batch)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begin an evaluation."""
        self._times.switch("evaluation")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """End the evaluation."""
        self._times.switch("epoch_callbacks")
        self._times.close("evaluation")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Judge and write.

        The other callbacks of the epoch's end follow, and count when they are done.
        """
        self._times.switch("epoch_callbacks")
        self._times.close_step()
        self._warn_if_slow()
        self._write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write the figures of the whole training."""
        self._times.switch("")
        self._times.close("epoch_callbacks")
        self._write()
        self._release()

    def saving(self) -> AbstractContextManager[None]:
        """Return a context for making a checkpoint.

        Its time is charged to `checkpoints` and to no other part.
        """
        return self._times.measure("checkpoints")

    def get_state(self) -> dict[str, Any]:
        """Return all durations so far."""
        return {"durations": self._times.get_state(), "warned": self.warned}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._times.set_state(state["durations"])
        self.warned = bool(state["warned"])

    @property
    def summary(self) -> dict[str, Any]:
        """The content of the file: `bound` (data-, compute- or callback-bound) and the parts."""
        return self._times.summary()

    def _warn_if_slow(self) -> None:
        line = self._times.warning(_LIMIT)
        if line and self.warn and not self.warned:
            self.warned = True
            self.warn(line)

    def _write(self) -> None:
        write_whole(self.path, json.dumps(self.summary, indent=1).encode())

    def _release(self) -> None:
        if self._fetching is not None:
            self._fetching.release()
