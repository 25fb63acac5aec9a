"""Gradient flow: how the gradient fares on its way down through the layers."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from epochal.callbacks.parts.backend import require_built, require_tensorflow
from epochal.callbacks.parts.batch_gradients import BatchGradients
from epochal.callbacks.parts.every import passes_multiple, require_at_least_one
from epochal.callbacks.parts.layer_gradients import describe_layers, relative_changes
from epochal.callbacks.parts.optimizer import iteration_of, learning_rate
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.records import Records

_PERCENTILE = 95  # of the latest norms, for `clip`
_ENOUGH = 10  # norms, for `clip`


class GradientFlow(keras.callbacks.Callback):
    """Writes norms of each layer's gradient, weights and update as JSON lines, and flags bad ones.

    A line is written before the first step (epoch 0) and after epochs. Of each layer that has a
    kernel (a weight of two axes or more), all trainable weights together:

        gradient, rms: norm and root mean square of the gradient of the data's loss on `batch`, in
            training mode and without the penalties of weights; nothing of the model is moved;
        weight: norm of the weights;
        ratio: gradient / weight;
        update: norm of what the epoch's last step changed, by whatever optimizer, rate, clipping
            and decay, over the norm of the weights before it; null where that is not known. About
            0.001 is usual;
        flag: "vanishing", "exploding" or null, as `callbacks.parts.layer_gradients` defines them.

    Args:
        log: the file to write, `gradient_flow.jsonl` in a run's folder.
        batch: `(x, y)` to compute gradients on, as the model takes them.
        loss: of `y` and the model's answer: a scalar, divided by the number of replicas, that
            `gradient` is of. None: the model's own loss without regularizers of weights.
        norms: returns the global gradient norms of the latest steps, as
            `GradientClipping.latest_norms` does. Their 95th percentile (nearest rank; AutoClip,
            Seetharaman et al. 2020, arXiv:2007.14469) is the line's `clip`: the value that would
            have clipped one step in twenty. None, or fewer than 10 norms: null.
        every: write after every so many epochs.

    Raises:
        ValueError: `every` below 1, a batch that is not `(x, y)`, or another backend than
            TensorFlow.
    """

    phase = Phase.RECORD
    key = "gradient_flow"

    def __init__(
        self,
        log: str | os.PathLike[str],
        *,
        batch: tuple[Any, Any],
        loss: Callable[[Any, Any], Any] | None = None,
        norms: Callable[[], np.ndarray] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        require_at_least_one("every", every, "epoch")
        if len(batch) != 2:
            raise ValueError(f"batch must be (x, y), got {len(batch)} parts.")
        self.batch = batch
        self.loss = loss
        self.norms = norms
        self.every = every
        self._records = Records(log)
        self._updates: dict[str, float] = {}  # of the latest step, if it was an epoch's last
        self._steps = 0  # of the longest epoch so far
        self._before: dict[str, np.ndarray] | None = None  # weights, ahead of an epoch's last step
        self._iteration_before = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drop the lines that come again, and measure a model that has not been trained yet."""
        require_tensorflow("GradientFlow", "leave it out")
        require_built(self.model, "GradientFlow")
        self._gradients = BatchGradients(
            self.model, self.batch, training=True, penalties=False, loss=self.loss
        )
        self._updates = {}
        self._before = None
        self._steps = 0
        iteration = iteration_of(self.model)
        self._records.begin(iteration)
        if iteration == 0:
            self._write(0)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Keep the weights before the epoch's last step.

        Of a first epoch it may be unknown which that is.
        """
        steps = (self.params or {}).get("steps") or self._steps
        if batch < steps <= batch + self.model.steps_per_execution:
            self._before = self._read_weights()
            self._iteration_before = iteration_of(self.model)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure what that step has changed, unless it only gathered gradients for the next."""
        self._steps = max(self._steps, batch + 1)
        self._updates = {}
        before = self._before
        if before is None:
            return
        self._before = None
        if iteration_of(self.model) > self._iteration_before:
            after = self._read_weights()
            self._updates = relative_changes(before, after)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write, if it is the epoch's turn."""
        if passes_multiple(epoch, epoch + 1, self.every):
            self._write(epoch + 1)

    def get_state(self) -> dict[str, Any]:
        """Return the update ratios, where the latest step was an epoch's last."""
        return {"updates": dict(self._updates)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_state` returned; after `on_train_begin`."""
        self._updates = dict(state["updates"])

    def _read_weights(self) -> dict[str, np.ndarray]:
        return {variable.path: variable.numpy() for variable in self.model.trainable_variables}

    def _write(self, epoch: int) -> None:
        gradients = {}
        for path, value in self._gradients().items():
            gradients[path] = value.numpy()
        rate = learning_rate(self.model)
        weights = self._read_weights()
        layers = describe_layers(gradients, weights, rate=rate)
        for layer in layers:
            name = layer["layer"]
            layer["update"] = self._updates.get(name)
        clip = None
        norms = np.zeros(0)
        if self.norms is not None:
            norms = self.norms()
        if len(norms) >= _ENOUGH:
            clip = float(
                np.percentile(
                    norms,
                    _PERCENTILE,
                    method="inverted_cdf",
                )
            )
        record = {
            "iteration": iteration_of(self.model),
            "epoch": epoch,
            "clip": clip,
            "layers": layers,
        }
        self._records.write(record)
