"""What tells an optimizer that goes by the curvature of each weight how large that is."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.training.probes.curvature import diagonal_part
from epochal.app.training.step.classifier import piece
from epochal.callbacks.parts.batch_gradients import state_preserved


class CurvatureRates(keras.callbacks.Callback):
    """Gives `DiagonalNewton` the curvature of every trained weight anew before each epoch; nothing else is moved.

    That is the mean of `diagonal_part` of what a step minimises, in training mode and with the penalties of weights,
    over some batches of training images, with other signs each epoch.

    Args:
        images, labels: of each batch, `[N, H, W, C]` and `[N]`, all batches alike; N divides by the number of replicas.
    """

    def __init__(self, images: Sequence[Any], labels: Sequence[Any]) -> None:
        super().__init__()
        self._batches = list(zip(images, labels, strict=True))
        self._traced: dict[
            tuple[int, ...], Any
        ] = {}  # by the ids of what is trained, which Freezing changes

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Measures, unless the epoch was begun before a stop: its curvatures were restored with the optimizer."""
        if not self.model.steps_to_skip:
            self.measure(epoch)

    def measure(self, epoch: int) -> None:
        """Measures with the signs of this epoch."""
        weights = self.model.trainable_weights
        estimate = self._traced.setdefault(tuple(map(id, weights)), tf.function(self._estimate))
        random = np.random.default_rng(epoch)
        total = [np.zeros(weight.shape) for weight in weights]
        with state_preserved(self.model):
            for images, labels in self._batches:
                signs = [
                    random.integers(0, 2, weight.shape).astype(weight.dtype) * 2 - 1
                    for weight in weights
                ]
                found = estimate(images, labels, signs)
                total = [value + part.numpy() for value, part in zip(total, found, strict=True)]
        self.model.optimizer.take(weights, [value / len(self._batches) for value in total])

    def _estimate(self, images: tf.Tensor, labels: tf.Tensor, signs: list[tf.Tensor]) -> Any:
        model = self.model
        strategy = self.model.distribute_strategy

        def on_replica() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            place = context.replica_id_in_sync_group, context.num_replicas_in_sync
            x = piece(images, *place)
            y = piece(labels, *place)

            def loss() -> tf.Tensor:  # the mean over these images, and over the number of replicas
                return model.compute_loss(y=y, y_pred=model(x, training=True))

            return diagonal_part(loss, model.trainable_weights, signs)

        return strategy.reduce("SUM", strategy.run(on_replica), axis=None)
