"""Weights and gradients for TensorBoard."""

import os
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from callbacks.parts.backend import require_tensorflow
from callbacks.parts.batch_gradients import BatchGradients
from callbacks.parts.failure import undo_on_failure

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
        self._gradients: BatchGradients | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forgets earlier fits."""
        if self.batch is not None:
            require_tensorflow("WeightHistograms with a batch", "leave the batch out: weights are written all the same")
        self._close()
        self._gradients = None  # another model, perhaps
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
            self._gradients = self._gradients or BatchGradients(self.model, self.batch, training=False, penalties=True)
            _add(summary, "gradient", ((path, value.numpy()) for path, value in self._gradients().items()))
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
