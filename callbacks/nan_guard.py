"""Ends training at the first number that is none."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.failure import undo
from epochal.callbacks.parts.last_finite import Kept, LastFinite
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import learning_rate


class NonFiniteError(FloatingPointError):
    """Training left the finite numbers: `quantity` did, at `step` of `epoch` (as Keras counts, from 0).

    Where `NanGuard` was to keep them, `kept` are the model's variables (without metrics) before the step that began
    it, and `spoilt` the paths of those that are not finite any more.
    """

    def __init__(
        self, message: str, *, quantity: str, epoch: int, step: int, learning_rate: float
    ) -> None:
        super().__init__(message)
        self.quantity = quantity
        self.epoch = epoch
        self.step = step
        self.learning_rate = learning_rate
        self.kept: Kept | None = None
        self.spoilt: list[str] = []


class NanGuard(keras.callbacks.Callback):
    """Raises `NonFiniteError` as soon as a loss is NaN or infinite; deletes nothing.

    Watches the running mean of the loss (once NaN, NaN to the end of the epoch) every `check_every` steps; at the end
    of an epoch, validation included, all losses, NaN in any other quantity, and the weights, because the epoch's last
    update shows in no logged loss. Before it raises, `EarlyStopping` of the same fit puts the best weights back,
    whichever comes first in the list.

    Args:
        check_every: steps between two looks at the loss.
        keep_state: copies the model's variables before every step that begins with finite ones, and hands the copy
            over with the error: that step went wrong, or the validation after it. Takes the model's memory once more.

    Raises:
        ValueError: `check_every` below 1, or `keep_state` without TensorFlow (when training begins).
        NonFiniteError: as said; one line with step, epoch, learning rate and what to do.
    """

    phase = Phase.GUARD

    def __init__(self, check_every: int = 1, *, keep_state: bool = False) -> None:
        super().__init__()
        if check_every < 1:
            raise ValueError(f"check_every must be at least 1 step, got {check_every}.")
        self.check_every = check_every
        self.keep_state = keep_state
        self._epoch = self._step = self._done = 0
        self._last: LastFinite | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        self._epoch = self._step = 0
        if self.keep_state:
            require_tensorflow("NanGuard(keep_state=True)", "leave keep_state out")
            self._last = LastFinite(self.model)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Lets go of what was kept."""
        self._last = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the place, for the message."""
        self._epoch = epoch
        self._step = 0
        self._done = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps what the step begins with."""
        self._keep(batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Checks the running loss."""
        before = self._done
        self._step = batch
        self._done = batch + 1  # by more than one where an execution has several steps
        if self._done // self.check_every > before // self.check_every:
            self._check({"loss": (logs or {}).get("loss", 0.0)})

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Keeps what validation begins with, which may be averages of the weights."""
        self._keep((self.params or {}).get("steps") or self._step + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Checks all that is logged, then the weights."""
        self._epoch = epoch
        self._check(logs or {})
        for weight in getattr(self.model, "weights", ()):
            if not np.isfinite(weight.numpy()).all():
                self._stop(f"weight {weight.path}", "not finite")

    def _check(self, logs: Mapping[str, Any]) -> None:
        for name, value in logs.items():
            # Other quantities may be infinite in good health: the perplexity of a first epoch, say.
            values = np.asarray(value)  # a metric may have one for each class
            bad = values[~np.isfinite(values) if name.endswith("loss") else np.isnan(values)]
            if bad.size:
                self._stop(name, str(float(bad[0])))

    def _keep(self, step: int) -> None:
        if self._last:
            self._last.keep(self._epoch, step, learning_rate(self.model))

    def _stop(self, quantity: str, became: str) -> None:
        rate = learning_rate(self.model)
        error = NonFiniteError(
            f"{quantity} became {became} at step {self._step + 1} of epoch {self._epoch + 1} (learning rate "
            f"{rate:.6g}): lower the learning rate, for instance to {rate / 10:.6g}, clip the gradients with "
            "GradientClipping(1.0), or look for bad values in the data.",
            quantity=quantity,
            epoch=self._epoch,
            step=self._step,
            learning_rate=rate,
        )
        if self._last:
            error.kept = self._last.read()
            error.spoilt = self._last.spoilt()
            self._last = None
        undo(self)
        raise error
