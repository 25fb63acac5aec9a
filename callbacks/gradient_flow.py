"""How the gradient fares on its way down through the layers."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_built, require_tensorflow
from epochal.callbacks.parts.batch_gradients import BatchGradients
from epochal.callbacks.parts.flow import by_layer, judged, norm
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.rate import learning_rate
from epochal.callbacks.parts.records import Records


class GradientFlow(keras.callbacks.Callback):
    """Writes the norms of every layer's gradient, weights and update to a file of JSON lines, and flags bad ones.

    A line is written before the first step (epoch 0) and after epochs. Of each layer that has a kernel (a weight of two
    axes or more), all trainable weights together:

        gradient, rms: norm and root mean square of the gradient of the data's loss on `batch`, in training mode and
            without the penalties of weights; nothing of the model is moved;
        weight: norm of the weights;
        ratio: gradient / weight;
        update: norm of what the epoch's last step changed, by whatever optimizer, rate, clipping and decay, over the
            norm of the weights before it; null where that is not known. About 0.001 is usual;
        flag: "vanishing", "exploding" or null, as `callbacks.parts.flow` defines them.

    Args:
        log: the file to write, `gradient_flow.jsonl` in a run's folder.
        batch: `(x, y)` to compute gradients on, as the model takes them.
        norms: returns the global gradient norms of the latest steps, as `GradientClipping.latest_norms` does. Their
            95th percentile (nearest rank; AutoClip, Seetharaman et al. 2020, arXiv:2007.14469) is the line's `clip`:
            the value that would have clipped one step in twenty. None, or fewer than 10 norms: null.
        every: write after each so many epochs.

    Raises:
        ValueError: `every` below 1, a batch that is not `(x, y)`, or another backend than TensorFlow.
    """

    phase = Phase.RECORD
    key = "gradient_flow"

    def __init__(
        self,
        log: str | os.PathLike[str],
        *,
        batch: tuple[Any, Any],
        norms: Callable[[], np.ndarray] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}.")
        if len(batch) != 2:
            raise ValueError(f"batch must be (x, y), got {len(batch)} parts.")
        self.batch = batch
        self.norms = norms
        self.every = every
        self._records = Records(log)
        self._updates: dict[str, float] = {}  # of the latest step, if it was an epoch's last
        self._count = self._steps = (
            0  # the optimizer's before them; those of the longest epoch so far
        )
        self._before: dict[str, np.ndarray] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drops the lines that come again, and measures a model that has not been trained yet."""
        require_tensorflow("GradientFlow", "leave it out")
        require_built(self.model, "GradientFlow")
        self._gradients = BatchGradients(self.model, self.batch, training=True, penalties=False)
        self._updates = {}
        self._before = None
        self._steps = 0
        self._records.begin(self._iteration())
        if self._iteration() == 0:
            self._write(0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keeps the weights before the epoch's last step; of a first epoch it may be unknown which that is."""
        steps = (self.params or {}).get("steps") or self._steps
        if batch < steps <= batch + self.model.steps_per_execution:
            self._before, self._count = self._weights(), self._iteration()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures what that step has changed, unless it only gathered gradients for the next."""
        self._steps = max(self._steps, batch + 1)
        before = self._before
        self._before = None
        self._updates = {}
        if before is not None and self._iteration() > self._count:
            after = self._weights()
            self._updates = {
                layer: norm([after[path] - before[path] for path in paths]) / length
                for layer, paths in by_layer(before).items()
                if (length := norm([before[path] for path in paths]))
            }

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes, if it is the epoch's turn."""
        if (epoch + 1) % self.every == 0:
            self._write(epoch + 1)

    def get_state(self) -> dict[str, Any]:
        """Returns the update ratios, where the latest step was an epoch's last."""
        return {"updates": dict(self._updates)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes over what `get_state` returned; after `on_train_begin`."""
        self._updates = dict(state["updates"])

    def _iteration(self) -> int:
        return int(self.model.optimizer.iterations.numpy())

    def _weights(self) -> dict[str, np.ndarray]:
        return {variable.path: variable.numpy() for variable in self.model.trainable_variables}

    def _write(self, epoch: int) -> None:
        gradients = {path: value.numpy() for path, value in self._gradients().items()}
        layers = judged(gradients, self._weights(), rate=learning_rate(self.model))
        for row in layers:
            row["update"] = self._updates.get(row["layer"])
        latest = np.zeros(0) if self.norms is None else self.norms()
        clip = (
            float(np.percentile(latest, 95, method="inverted_cdf")) if len(latest) >= 10 else None
        )
        self._records.write(
            {"iteration": self._iteration(), "epoch": epoch, "clip": clip, "layers": layers}
        )
