"""Weights and gradients for TensorBoard."""

import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from callbacks.parts.backend import require_tensorflow
from callbacks.parts.failure import undo_on_failure
from callbacks.parts.gradients import dense

_BUCKETS = 30  # as many as tf.summary.histogram has


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
        self._differentiate: dict[tuple[int, ...], Any] = {}  # by the ids of the variables that are trained

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        if self.batch is not None:
            require_tensorflow("WeightHistograms with a batch", "leave the batch out: weights are written all the same")
        self._close()
        self._differentiate = {}  # another model, perhaps
        undo_on_failure(self, self._close)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes, if it is the epoch's turn."""
        if epoch % self.every:
            return
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.log_dir)
        summary = tf.compat.v1.Summary()
        _add(summary, "weight", ((v.path, v.numpy()) for v in self.model.weights if "float" in v.dtype))
        if self.batch is not None:
            _add(summary, "gradient", ((path, value.numpy()) for path, value in self._gradients()))
        with self._writer.as_default(step=epoch):
            tf.summary.experimental.write_raw_pb(summary.SerializeToString())
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
        trained = tuple(map(id, model.trainable_variables))  # which Freezing changes between epochs
        gradients = self._differentiate.setdefault(trained, tf.function(self._sum_over_replicas))()
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


def _add(summary: Any, kind: str, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    # tf.summary's functions do the same one eager operation after the other, and take 20 times longer.
    for path, array in arrays:
        values = array.astype(np.float64).ravel()
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        if high - low <= 1e-12 * max(abs(low), abs(high)):  # NumPy refuses buckets narrower than a rounding
            low, high = low - 0.5, high + 0.5
        counts, edges = np.histogram(finite, _BUCKETS, (low, high))
        _add_tensor(summary, "histograms", f"{kind}s/{path}", np.stack([edges[:-1], edges[1:], counts], axis=1))
        _add_tensor(summary, "scalars", f"{kind}_norm/{path}", np.float32(np.linalg.norm(values)))


def _add_tensor(summary: Any, plugin: str, tag: str, tensor: Any) -> None:
    value = summary.value.add(tag=tag, tensor=tf.make_tensor_proto(tensor))
    value.metadata.plugin_data.plugin_name = plugin
