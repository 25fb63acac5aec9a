"""Activations of a network: their means and spreads, which saturate, which units are dead."""

import os
from collections.abc import Iterable
from typing import Any

import keras

from epochal.callbacks.parts.activations import observe_activations
from epochal.callbacks.parts.batch_gradients import state_preserved
from epochal.callbacks.parts.every import passes_multiple, require_at_least_one
from epochal.callbacks.parts.optimizer import iteration_of
from epochal.callbacks.parts.phase import Phase
from epochal.callbacks.parts.records import Records


class ActivationMonitor(keras.callbacks.Callback):
    """Writes, by layer with a non-linearity, what comes out of it to a file of JSON lines.

    A line is written after epochs, from `batch` (its `data` is "batch"), and one when training
    ends, from all of `validation` ("validation"). Stand it behind `EarlyStopping`, so that the last
    line is of the weights that are kept. Found are activations in nested models too, as layers of
    their own and as the `activation` of another layer. Of each layer, over all values at all
    positions of all images, in inference mode (on JAX not of recurrent layers, whose steps have no
    values outside of their loop):

        mean, spread: mean and standard deviation;
        saturated: of ReLUs the share of values that are 0 (of ReLU6 also 6), of others (sigmoid,
            tanh, LeCun's scaled one, ...) the share where the slope of the non-linearity is below
            0.01 (by central differences); null where there is no such thing: softmax, maxout, leaky
            ReLUs;
        units: channels (the last axis), null where no ReLU;
        dead: the numbers of those that are 0 at every position of every image. Only the line of the
            whole validation set says that a unit is dead, that of a batch that it was silent there.

    Args:
        log: the file to write, `activations.jsonl` in a run's folder.
        batch: inputs of the model, some dozens; None writes no line after epochs.
        validation: batches of inputs, or of tuples that begin with them, to go through once; None
            writes no last line.
        every: write after every so many epochs.

    Raises:
        ValueError: `every` below 1.
    """

    phase = Phase.SAVE

    def __init__(
        self,
        log: str | os.PathLike[str],
        *,
        batch: Any = None,
        validation: Iterable[Any] | None = None,
        every: int = 1,
    ) -> None:
        super().__init__()
        require_at_least_one("every", every, "epoch")
        self.batch = batch
        self.validation = validation
        self.every = every
        self._records = Records(log)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Drop the lines that come again."""
        self._records.begin(iteration_of(self.model), closing="validation")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write, if it is the epoch's turn."""
        if self.batch is not None and passes_multiple(
            epoch,
            epoch + 1,
            self.every,
        ):
            self._write([self.batch], {"epoch": epoch + 1, "data": "batch"})

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Go through the whole validation set."""
        if self.validation is not None:
            self._write(self.validation, {"data": "validation"})

    def _write(self, batches: Iterable[Any], place: dict[str, Any]) -> None:
        images = 0
        with state_preserved(self.model), observe_activations(self.model) as layers:
            for batch in batches:
                inputs = batch
                if isinstance(batch, tuple):
                    inputs = batch[0]
                self.model(inputs, training=False)
                first_input, *_ = keras.tree.flatten(inputs)
                images += len(first_input)
        rows = []
        for name, statistics in layers.items():
            rows.append({"layer": name, **statistics.figures()})
        record: dict[str, Any] = {"iteration": iteration_of(self.model)}
        record.update(place)
        record["images"] = images
        record["layers"] = rows
        self._records.write(record)
