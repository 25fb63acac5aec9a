"""Curvature rates: the callback that tells an optimizer the curvature along each weight."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from epochal.app.streams import generator
from epochal.app.training.probes.curvature import diagonal_part
from epochal.app.training.step.classifier import piece
from epochal.callbacks.parts.batch_gradients import state_preserved
from epochal.callbacks.parts.phase import Phase


class CurvatureRates(keras.callbacks.Callback):
    """Gives `DiagonalNewton` the curvature of every trained weight before each epoch.

    That is the mean of `diagonal_part` of what a step minimises, in training mode and with the
    penalties of weights, over some batches of training images, with other random signs each epoch.

    Args:
        images, labels: of each batch, `[N, H, W, C]` and `[N]`, all batches alike; N divides by the
            number of replicas
        seed: of the signs
    """

    phase = Phase.STEER

    def __init__(self, images: Sequence[Any], labels: Sequence[Any], *, seed: int) -> None:
        super().__init__()
        self._batches = list(zip(images, labels, strict=True))
        self._seed = seed
        # By the ids of the weights that are trained, which Freezing changes.
        self._traced: dict[tuple[int, ...], Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Measure, unless the epoch was begun before a stop: the optimizer has them then."""
        if not self.model.passes_over_step:
            self.measure(epoch)

    def measure(self, epoch: int) -> None:
        """Measure with the signs of this epoch, and hand the curvatures to the optimizer."""
        weights = self.model.trainable_weights
        trained = tuple(id(weight) for weight in weights)
        if trained not in self._traced:
            self._traced[trained] = tf.function(self._estimate)
        estimate = self._traced[trained]
        random = generator(self._seed, "curvature", epoch)
        totals = []
        for weight in weights:
            totals.append(np.zeros(weight.shape))
        with state_preserved(self.model):
            for images, labels in self._batches:
                signs = []
                for weight in weights:
                    signs.append(_random_signs(random, weight))
                parts = estimate(images, labels, signs)
                for total, part in zip(totals, parts, strict=True):
                    total += part.numpy()
        for total in totals:
            total /= len(self._batches)
        self.model.optimizer.take(weights, totals)

    def _estimate(self, images: tf.Tensor, labels: tf.Tensor, signs: list[tf.Tensor]) -> Any:
        """Return the estimate on one batch, of which every replica takes its part."""
        model = self.model
        strategy = self.model.distribute_strategy

        def estimate_on_replica() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            replica = context.replica_id_in_sync_group
            replicas = context.num_replicas_in_sync
            x = piece(images, replica, replicas)
            y = piece(labels, replica, replicas)

            def loss() -> tf.Tensor:  # the mean over these images, and over the number of replicas
                return model.compute_loss(
                    y=y,
                    y_pred=model(x, training=True),
                )

            return diagonal_part(loss, model.trainable_weights, signs)

        return strategy.reduce(
            "SUM",
            strategy.run(estimate_on_replica),
            axis=None,
        )


def _random_signs(random: np.random.Generator, weight: Any) -> np.ndarray:
    """Return +1 or -1 for each entry of a weight, of its type."""
    return (
        random.integers(
            0,
            2,
            weight.shape,
        ).astype(weight.dtype)
        * 2
        - 1
    )
