"""The gradients of a model's loss on one batch, beside its training."""

from typing import Any

import numpy as np
import tensorflow as tf

from callbacks.parts.gradients import dense


class LossGradients:
    """Computes the gradients of `model`'s loss on `(x, y)` in inference mode: moving statistics, no dropout.

    Changes neither weights, statistics, metrics nor random state; gives the same on any number of replicas.
    """

    def __init__(self, model: Any, batch: tuple[Any, Any]) -> None:
        self._model, self._batch = model, batch
        self._compute = tf.function(self._sum_over_replicas)

    def __call__(self) -> list[tuple[str, np.ndarray]]:
        """Returns the path and the gradient of each trainable weight that has one."""
        model = self._model
        # compute_loss moves the trackers of models with several outputs, and a layer may count its calls.
        changeable = [*model.non_trainable_variables, *model.metrics_variables]
        before = [variable.numpy() for variable in changeable]
        gradients = self._compute()
        for variable, value in zip(changeable, before, strict=True):
            variable.assign(value)
        return [(path, value.numpy()) for path, value in gradients.items()]

    def _sum_over_replicas(self) -> dict[str, tf.Tensor]:
        # Keras divides the loss by the number of replicas, each of which gets the whole batch here.
        strategy = self._model.distribute_strategy
        return strategy.reduce("SUM", strategy.run(self._of_replica), axis=None)

    def _of_replica(self) -> dict[str, tf.Tensor]:
        model = self._model
        x, y = (tf.nest.map_structure(tf.convert_to_tensor, part) for part in self._batch)
        scale = model.optimizer.scale_loss(tf.ones(()))  # else float16 gradients underflow
        with tf.GradientTape() as tape:
            loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=False), training=False) * scale
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(model.trainable_variables, gradients, strict=True)
        return {variable.path: dense(value) / scale for variable, value in pairs if value is not None}
