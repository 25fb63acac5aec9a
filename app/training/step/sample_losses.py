"""The loss of every training image, as training itself computes it."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.data.hard_examples import HardExamples
from epochal.app.data.order import Table
from epochal.callbacks.parts.phase import Phase


class SampleLosses(keras.callbacks.Callback):
    """Keeps the losses of an epoch's images, and in the end hands them to what arranges the next.

    The training step records the loss at each position of the epoch, so that no forward pass of its
    own is needed. Every replica writes into a table of its own what no other writes; their sum
    holds all.

    Args:
        hard: takes the losses in
        table: the order of the epoch; it is moved to the next epoch when that begins
        devices: of the replicas; None is TensorFlow's choice
    """

    phase = Phase.RECORD
    key = "sample_losses"

    def __init__(
        self, hard: HardExamples, table: Table, devices: tuple[str | None, ...] = (None,)
    ) -> None:
        super().__init__()
        self._hard = hard
        self._table = table
        self._parts: list[tf.Variable] = []
        for device in devices:
            with tf.device(device):
                self._parts.append(tf.Variable(tf.zeros([len(hard.losses)]), trainable=False))

    @property
    def averages(self) -> np.ndarray:
        """The moving average of each image's loss, float64 `[N]`, NaN of one that never came."""
        return self._hard.losses

    def record(self, positions: tf.Tensor, losses: tf.Tensor) -> None:
        """Note the losses `[n]` at positions `[n]`, int32, of this replica's part of a batch."""
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = self._parts[int(tf.get_static_value(replica))]
        part.scatter_update(tf.IndexedSlices(tf.cast(losses, part.dtype), positions))

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget earlier fits."""
        self._hard.reset()
        self._assign(np.zeros_like(self._sum()))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand the epoch's losses on."""
        losses = self._sum()
        self._hard.learn(self._table.images.numpy(), losses)
        self._assign(np.zeros_like(losses))

    def get_state(self) -> dict[str, Any]:
        """Return this epoch's losses by position, and the averages before it by image."""
        return {"losses": self._sum(), "averages": self._hard.losses}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a state; after `on_train_begin` and before the epoch's order is made."""
        self._assign(state["losses"])
        self._hard.losses = np.array(state["averages"])

    def _sum(self) -> np.ndarray:
        return np.sum([part.numpy() for part in self._parts], axis=0)

    def _assign(self, losses: np.ndarray) -> None:
        """Put losses into the first table; the others hold nothing."""
        self._parts[0].assign(losses)
        for part in self._parts[1:]:
            part.assign(np.zeros_like(losses))
