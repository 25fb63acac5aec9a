"""The gradient of a model's loss on one batch, taken without leaving a trace in the model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from epochal.callbacks.parts.gradients import dense


class BatchGradients:
    """Computes the gradient of `model`'s loss on a fixed batch as often as it is called.

    Neither weights, statistics, metrics nor random state are changed. On several replicas each gets the whole batch.

    Args:
        model: compiled and built.
        batch: `(x, y)` as the model takes them.
        training: forward as in training (statistics of the batch, dropout) instead of inference.
        penalties: with those of the weights, such as coupled weight decay, added to the loss of the data.
        loss: of `y` and the model's answer, in place of `compute_loss`: a scalar, divided by the number of replicas.
    """

    def __init__(
        self,
        model: Any,
        batch: tuple[Any, Any],
        *,
        training: bool,
        penalties: bool,
        loss: Callable[[Any, Any], tf.Tensor] | None = None,
    ) -> None:
        self._model = model
        self._batch = batch
        self._training = training
        self._penalties = penalties
        self._loss = loss
        self._differentiate: dict[
            tuple[int, ...], Any
        ] = {}  # by the ids of what is trained, which Freezing changes

    def __call__(self) -> dict[str, Any]:
        """Returns the gradients by the path of their weight, without loss scaling; weights without one are left out."""
        with unmoved(self._model):
            trained = tuple(map(id, self._model.trainable_variables))
            if trained not in self._differentiate:
                # Traced here: a call that traces makes TensorFlow warn of many, which thawing layers ask for.
                self._differentiate[trained] = tf.function(
                    self._sum_over_replicas
                ).get_concrete_function()
            return self._differentiate[trained]()

    def _sum_over_replicas(self) -> dict[str, tf.Tensor]:
        # Keras divides the loss by the number of replicas, each of which gets the whole batch here.
        strategy = self._model.distribute_strategy
        # Out here: each replica is traced in a thread of its own, and would put back what another had taken off.
        with _regularizers(self._model, self._penalties):
            return strategy.reduce("SUM", strategy.run(self._loss_gradients), axis=None)

    def _loss_gradients(self) -> dict[str, tf.Tensor]:
        model = self._model
        training = self._training
        x, y = (tf.nest.map_structure(tf.convert_to_tensor, part) for part in self._batch)
        scale = model.optimizer.scale_loss(tf.ones(()))  # else float16 gradients underflow
        with tf.GradientTape() as tape:
            answer = model(x, training=training)
            if self._loss is None:
                loss = model.compute_loss(x=x, y=y, y_pred=answer, training=training)
            else:
                loss = self._loss(y, answer)
            loss = loss * scale
        gradients = tape.gradient(loss, model.trainable_variables)
        pairs = zip(model.trainable_variables, gradients, strict=True)
        return {
            variable.path: dense(value) / scale for variable, value in pairs if value is not None
        }


@contextmanager
def unmoved(model: Any) -> Iterator[None]:
    """What runs of the model within it change, statistics, random state or metrics, is as before afterwards."""
    # compute_loss moves the trackers of models with several outputs, and a layer may count its calls.
    changeable = [*model.non_trainable_variables, *model.metrics_variables]
    before = [variable.numpy() for variable in changeable]
    try:
        yield
    finally:
        for variable, value in zip(changeable, before, strict=True):
            variable.assign(value)


@contextmanager
def _regularizers(model: Any, kept: bool) -> Iterator[None]:
    """While the loss is traced, the weights' own are taken off unless they are to be kept."""
    held = [(variable, variable.regularizer) for variable in model.trainable_variables if not kept]
    for variable, _ in held:
        variable.regularizer = None
    try:
        yield
    finally:
        for variable, regularizer in held:
            variable.regularizer = regularizer
