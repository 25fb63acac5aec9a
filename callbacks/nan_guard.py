"""A guard that ends training at the first number that is not finite."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_tensorflow
from epochal.callbacks.parts.cleanup import clean_up
from epochal.callbacks.parts.every import passes_multiple, require_at_least_one
from epochal.callbacks.parts.last_finite import Kept, LastFinite
from epochal.callbacks.parts.optimizer import learning_rate
from epochal.callbacks.parts.phase import Phase


class NonFiniteError(FloatingPointError):
    """Training left the finite numbers, with `quantity` at `step` of `epoch` (both from 0).

    Where `NanGuard` was to keep them, `kept` are the model's variables (without metrics) before the
    step that began it, and `spoilt` the paths of those that are not finite any more.
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

    Watches the running mean of the loss (once NaN, NaN to the end of the epoch) every `check_every`
    steps; at the end of an epoch, validation included, all losses, NaN in any other quantity, and
    the weights, because the epoch's last update shows in no logged loss. Before it raises,
    `EarlyStopping` of the same fit puts the best weights back, whichever comes first in the list.

    Args:
        check_every: steps between two looks at the loss.
        keep_state: copies the model's variables before every step that begins with finite ones, and
            hands the copy over with the error: that step went wrong, or the validation after it.
            Takes the model's memory once more.

    Raises:
        ValueError: `check_every` below 1, or `keep_state` without TensorFlow (when training
            begins).
        NonFiniteError: as said; one line with step, epoch, learning rate and what to do.
    """

    phase = Phase.GUARD

    def __init__(self, check_every: int = 1, *, keep_state: bool = False) -> None:
        super().__init__()
        require_at_least_one("check_every", check_every, "step")
        self.check_every = check_every
        self.keep_state = keep_state
        self._epoch = 0
        self._step = 0  # the latest of the epoch, from 0
        self._steps_done = 0  # of the epoch
        self._last_finite: LastFinite | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forget earlier fits."""
        self._epoch = 0
        self._step = 0
        if self.keep_state:
            require_tensorflow("NanGuard(keep_state=True)", "leave keep_state out")
            self._last_finite = LastFinite(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Let go of what was kept."""
        self._last_finite = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the place, for the message."""
        self._epoch = epoch
        self._step = 0
        self._steps_done = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep what the step begins with."""
        self._keep(batch)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the running loss."""
        before = self._steps_done
        self._step = batch
        self._steps_done = batch + 1  # by more than one where an execution has several steps
        if passes_multiple(before, self._steps_done, self.check_every):
            self._check({"loss": (logs or {}).get("loss", 0.0)})

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Keep what validation begins with, which may be averages of the weights."""
        self._keep((self.params or {}).get("steps") or self._step + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check all that is logged, then the weights."""
        self._epoch = epoch
        self._check(logs or {})
        for weight in getattr(self.model, "weights", ()):
            is_finite = np.isfinite(weight.numpy())
            if not is_finite.all():
                self._fail(f"weight {weight.path}", "not finite")

    def _check(self, logs: Mapping[str, Any]) -> None:
        for name, value in logs.items():
            values = np.asarray(value)  # a metric may have one for each class
            # Other quantities may be infinite in good health: the perplexity of a first epoch, say.
            is_bad = np.isnan(values)
            if name.endswith("loss"):
                is_bad = ~np.isfinite(values)
            if is_bad.any():
                first_bad = values[is_bad][0]
                self._fail(name, str(float(first_bad)))

    def _keep(self, step: int) -> None:
        if self._last_finite is not None:
            self._last_finite.keep(
                self._epoch,
                step,
                learning_rate(self.model),
            )

    def _fail(self, quantity: str, value: str) -> None:
        rate = learning_rate(self.model)
        error = NonFiniteError(
            f"{quantity} became {value} at step {self._step + 1} of epoch {self._epoch + 1} "
            f"(learning rate {rate:.6g}): lower the learning rate, for instance to "
            f"{rate / 10:.6g}, clip the gradients with GradientClipping(1.0), or look for bad "
            "values in the data.",
            quantity=quantity,
            epoch=self._epoch,
            step=self._step,
            learning_rate=rate,
        )
        if self._last_finite is not None:
            error.kept = self._last_finite.read()
            error.spoilt = self._last_finite.spoilt()
            self._last_finite = None
        clean_up(self)
        raise error
