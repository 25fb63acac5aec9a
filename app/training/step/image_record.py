"""Loss and margin of every training image, epoch by epoch, as training itself computes them."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.data.audit.labels import ImageRecord
from epochal.app.data.dataset import Split
from epochal.app.data.order import Table
from epochal.callbacks.parts.phase import Phase


class ImageRecorder(keras.callbacks.Callback):
    """Keeps how each training image fares, and in the end writes it beside the run.

    As in `SampleLosses`, the training step notes what it computes anyway, by position of the epoch,
    and every replica writes what no other writes.

    Args:
        split: the training images
        table: the order of the epoch; it is moved to the next epoch when that begins
        devices: of the replicas; None is TensorFlow's choice
    """

    phase = Phase.RECORD
    key = "image_record"

    def __init__(
        self, split: Split, table: Table, devices: tuple[str | None, ...] = (None,)
    ) -> None:
        super().__init__()
        self.folder: Path | None = None
        self._split = split
        self._table = table
        self._record = self._empty()
        self._parts: list[tf.Variable] = []
        for device in devices:
            with tf.device(device):
                self._parts.append(tf.Variable(tf.zeros([len(split), 2]), trainable=False))

    @property
    def images(self) -> ImageRecord:
        """The record up to the end of the last epoch."""
        return self._record

    def record(self, positions: tf.Tensor, labels: tf.Tensor, logits: tf.Tensor) -> None:
        """Note loss and margin at positions `[n]` of labels `[n]` and logits `[n, K]`."""
        logits = tf.cast(logits, tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        is_label = tf.one_hot(labels, tf.shape(logits)[1], on_value=True, off_value=False)
        of_label = tf.reduce_sum(tf.where(is_label, logits, 0), axis=1)
        of_others = tf.where(is_label, logits.dtype.min, logits)
        margins = of_label - tf.reduce_max(of_others, axis=1)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = self._parts[int(tf.get_static_value(replica))]
        part.scatter_update(tf.IndexedSlices(tf.stack([losses, margins], axis=1), positions))

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget earlier fits."""
        self._record = self._empty()
        self._assign(np.zeros_like(self._sum()))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Take the epoch in."""
        noted = self._sum()
        images = self._table.images.numpy()
        self._record.learn(images, noted[:, 0].astype(float), noted[:, 1].astype(float))
        self._assign(np.zeros_like(noted))

    def on_train_end(self, logs: Any = None) -> None:
        """Write the record, if it has a folder."""
        if self.folder is not None:
            self._record.write(self.folder)

    def get_state(self) -> dict[str, Any]:
        """Return this epoch's losses and margins by position, and the record before it by image."""
        state: dict[str, Any] = dict(self._record.arrays())
        state["noted"] = self._sum()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state; after `on_train_begin` and before the epoch's order is made."""
        arrays = dict(state)
        self._assign(arrays.pop("noted"))
        self._record = ImageRecord.from_arrays(arrays)

    def _empty(self) -> ImageRecord:
        return ImageRecord.empty(self._split.indices, self._split.labels)

    def _sum(self) -> np.ndarray:
        return np.sum([part.numpy() for part in self._parts], axis=0)

    def _assign(self, noted: np.ndarray) -> None:
        """Put values into the first table; the others hold nothing."""
        self._parts[0].assign(noted)
        for part in self._parts[1:]:
            part.assign(np.zeros_like(noted))
