"""Weights and gradients for TensorBoard."""

import os
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from callbacks.failure import undo_on_failure
from callbacks.gradients import dense


class WeightHistograms(keras.callbacks.Callback):
    """Writes histograms and norms of all weights, and of the gradients on one batch, to TensorBoard.

    The gradients are those of the loss in inference mode (moving statistics, no dropout), so that epochs
    compare; computing them changes neither weights, statistics, metrics nor random state.

    Args:
        log_dir: folder of the event file, made when the first epoch is written.
        batch: `(x, y)` to compute the gradients on, as the model takes them; None writes weights only.
        every: write after epochs 0, every, 2 * every, ...

    Raises:
        ValueError: `every` below 1, or a batch that is not `(x, y)`.
    """

    def __init__(
        self, log_dir: str | os.PathLike[str], *, batch: tuple[Any, Any] | None = None, every: int = 1
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1 epoch, got {every}.")
        if batch is not None and len(batch) != 2:
            raise ValueError(f"batch must be (x, y), got {len(batch)} parts.")
        self.log_dir, self.batch, self.every = os.fspath(log_dir), batch, every
        self._writer: Any = None
        self._differentiate: Any = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        self._close()
        self._differentiate = None  # another model, perhaps
        undo_on_failure(self, self._close)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes, if it is the epoch's turn."""
        if epoch % self.every:
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        with self._writer.as_default(step=epoch):
            _write(
                "weight",
                ((v.path, v.numpy()) for v in self.model.weights if "float" in v.dtype),
            )
            if self.batch is not None:
                _write("gradient", self._gradients())
        self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Closes the event file."""
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None

    def _gradients(self) -> Iterable[tuple[str, Any]]:
        model = self.model
        # compute_loss moves the trackers of models with several outputs, and a layer may count its calls.
        changeable = [*model.non_trainable_variables, *model.metrics_variables]
        before = [variable.numpy() for variable in changeable]
        if self._differentiate is None:
            self._differentiate = tf.function(self._sum_over_replicas)
        gradients = self._differentiate()
        for variable, value in zip(changeable, before, strict=True):
            variable.assign(value)
        return gradients.items()

    def _sum_over_replicas(self) -> dict[str, tf.Tensor]:
        # Keras divides the loss by the number of replicas, each of which gets the whole batch here.
        strategy = self.model.distribute_strategy
        return strategy.reduce("SUM", strategy.run(self._loss_gradients), axis=None)

    def _loss_gradients(self) -> dict[str, tf.Tensor]:
        model = self.model
        x, y = (tf.nest.map_structure(tf.convert_to_tensor, part) for part in self.batch or ())
        scale = model.optimizer.scale_loss(tf.ones(()))  # else float16 gradients underflow
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False), training=False) * scale
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(model.trainable_variables, gradients, strict=True)
        return {variable.path: dense(value) / scale for variable, value in pairs if value is not None}


def _write(kind: str, arrays: Iterable[tuple[str, Any]]) -> None:
    for path, value in arrays:
        tf.summary.histogram(f"{kind}s/{path}", value)
        tf.summary.scalar(f"{kind}_norm/{path}", tf.norm(tf.cast(value, tf.float32)))
